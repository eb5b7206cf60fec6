"""The learning rate schedules that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, an entry in the table that builds
it, and its formula in `hvd_imgcls.plan.learning_rate`.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    HalfOpenFraction,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Probability,
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

    warmup_from: Probability | None = None
    """Learning rate of the first step of the warmup as a fraction of the peak.

    null: the peak divided by the steps of the warmup, so that the first step is one part of it.
    """


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

    warmup_from: Probability | None = None
    """Learning rate of the first step of the warmup as a fraction of the peak.

    null: the peak divided by the steps of the warmup, so that the first step is one part of it.
    """

    final_fraction: HalfOpenFraction = 0.0
    """Learning rate after the last step as a fraction of the peak."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class StepSchedule:
    """The learning rate falls by a factor at some epochs (He et al. 2016, arXiv:1512.03385)."""

    name: Literal["step"]
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

    warmup_from: Probability | None = None
    """Learning rate of the first step of the warmup as a fraction of the peak.

    null: the peak divided by the steps of the warmup, so that the first step is one part of it.
    """

    milestones: tuple[PositiveFloat, ...]
    """Epochs, counted from the start of the run, after which the learning rate falls.

    At least one, in rising order, none within the warmup. May be fractions.
    """

    factor: OpenFraction = 0.1
    """What the learning rate is multiplied by at every milestone."""

    def __post_init__(self) -> None:
        pairs = itertools.pairwise(self.milestones)
        if not self.milestones or any(later <= earlier for earlier, later in pairs):
            raise ValueError("milestones: at least one epoch, in rising order")
        if self.milestones[0] < self.warmup_epochs:
            raise ValueError("milestones: none before the warmup ends")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class PolynomialSchedule:
    """A power of the part of the run that is left, from the peak after the warmup down.

    `peak * ((1 - final_fraction) * (1 - t) ** power + final_fraction)`, where t rises from 0 after
    the warmup to 1 after the last step. Power 1 is a straight line, power 2 that of LARS (You et
    al. 2017, arXiv:1708.03888).
    """

    name: Literal["polynomial"]
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

    warmup_from: Probability | None = None
    """Learning rate of the first step of the warmup as a fraction of the peak.

    null: the peak divided by the steps of the warmup, so that the first step is one part of it.
    """

    power: PositiveFloat = 1.0
    """The power. Above 1 the learning rate falls faster at first."""

    final_fraction: HalfOpenFraction = 0.0
    """Learning rate after the last step as a fraction of the peak."""


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | StepSchedule | PolynomialSchedule,
    pydantic.Field(discriminator="name"),
]
