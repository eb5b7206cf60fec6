"""The learning rate schedules that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, and an entry in the table that
builds it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    HalfOpenFraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ConstantSchedule:
    """The same learning rate at every step after the warmup."""

    name: Literal["constant"]
    """Which schedule this is."""

    base_learning_rate: PositiveFloat
    """Learning rate for a global batch of `base_batch_size` examples."""

    base_batch_size: PositiveInt = 256
    """Global batch that `base_learning_rate` was tuned for."""

    scaling: Literal["linear", "square_root", "none"] = "linear"
    """How the learning rate grows with `train.global_batch_size / base_batch_size`.

    `linear` is for SGD (Goyal et al. 2017, arXiv:1706.02677), `square_root` for Adam
    and its relatives.
    """

    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs over which the learning rate rises linearly to its peak. May be a fraction."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CosineSchedule:
    """Half a cosine from the peak after the warmup down to a fraction of it at the end."""

    name: Literal["cosine"]
    """Which schedule this is."""

    base_learning_rate: PositiveFloat
    """Learning rate at the peak for a global batch of `base_batch_size` examples."""

    base_batch_size: PositiveInt = 256
    """Global batch that `base_learning_rate` was tuned for."""

    scaling: Literal["linear", "square_root", "none"] = "linear"
    """How the learning rate grows with `train.global_batch_size / base_batch_size`.

    `linear` is for SGD (Goyal et al. 2017, arXiv:1706.02677), `square_root` for Adam
    and its relatives.
    """

    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs over which the learning rate rises linearly to its peak. May be a fraction."""

    final_fraction: HalfOpenFraction = 0.0
    """Learning rate after the last step as a fraction of the peak."""


Schedule = Annotated[ConstantSchedule | CosineSchedule, pydantic.Field(discriminator="name")]
