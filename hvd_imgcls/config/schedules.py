"""The learning-rate schedules that a pipeline selects by `name`.

To add one, add a section here, a member of the union, an entry in the table that builds
schedules, and its formula in `hvd_imgcls.plan.learning_rate`.
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
class _Schedule:
    """A peak learning rate that is reached by a linear warmup."""

    name: str
    """Name of the schedule."""

    base_learning_rate: PositiveFloat
    """Peak learning rate for a global batch of `base_batch_size` examples."""

    base_batch_size: PositiveInt = 256
    """Global batch size for which `base_learning_rate` was tuned."""

    scaling: Literal["linear", "square_root", "none"] = "linear"
    """How the learning rate is scaled with `train.global_batch_size / base_batch_size`.

    `linear`: for SGD (Goyal et al. 2017, arXiv:1706.02677). `square_root`: for Adam
    and its relatives.
    """

    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs of linear learning-rate warmup. May be fractional."""

    warmup_from: Probability | None = None
    """Learning rate of the first warmup step as a fraction of the peak.

    null: the peak divided by the number of warmup steps.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ConstantSchedule(_Schedule):
    """A constant learning rate after the warmup."""

    name: Literal["constant"]
    """Name of the schedule."""

    base_learning_rate: PositiveFloat
    """Learning rate for a global batch of `base_batch_size` examples."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CosineSchedule(_Schedule):
    """Cosine decay from the peak after the warmup to a fraction of it at the end."""

    name: Literal["cosine"]
    """Name of the schedule."""

    final_fraction: HalfOpenFraction = 0.0
    """Final learning rate as a fraction of the peak."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class StepSchedule(_Schedule):
    """Step decay: the rate drops by a factor at milestones (He et al. 2015, arXiv:1512.03385)."""

    name: Literal["step"]
    """Name of the schedule."""

    milestones: tuple[PositiveFloat, ...]
    """Epochs after which the learning rate is reduced, counted from the start of the run.

    At least one, in ascending order, none within the warmup. May be fractional.
    """

    factor: OpenFraction = 0.1
    """Factor by which the learning rate is multiplied at every milestone."""

    def __post_init__(self) -> None:
        pairs = itertools.pairwise(self.milestones)
        if not self.milestones or any(later <= earlier for earlier, later in pairs):
            raise ValueError("milestones with at least one epoch, in ascending order")
        if self.milestones[0] < self.warmup_epochs:
            raise ValueError("milestones after the end of the warmup")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class PolynomialSchedule(_Schedule):
    """Polynomial decay from the peak after the warmup.

    `peak * ((1 - final_fraction) * (1 - t) ** power + final_fraction)`, where t rises from 0 after
    the warmup to 1 after the last step. Power 1 is linear decay; LARS uses power 2 (You et al.
    2017, arXiv:1708.03888).
    """

    name: Literal["polynomial"]
    """Name of the schedule."""

    power: PositiveFloat = 1.0
    """Exponent of the decay. Above 1, the learning rate falls faster at first."""

    final_fraction: HalfOpenFraction = 0.0
    """Final learning rate as a fraction of the peak."""


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | StepSchedule | PolynomialSchedule,
    pydantic.Field(discriminator="name"),
]
