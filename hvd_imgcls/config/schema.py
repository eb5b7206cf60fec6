"""What a pipeline file may say. `RunConfig` is the whole file, the others are its sections.

The file says what is trained, never on how many ranks: the only batch size in it is the
global one, and everything that depends on the ranks is derived by `hvd_imgcls.plan`.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.augmentations import Augmentation
from hvd_imgcls.config.parts import (
    CrossEntropy,
    Loss,
    Model,
    Optimizer,
    Schedule,
    Source,
)
from hvd_imgcls.config.sections import STRICT, NonNegativeInt, PositiveInt, Seed


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Data:
    """Where the images are."""

    source: Source
    """The images, their labels and how they are split."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Train:
    """How long and how to train."""

    global_batch_size: PositiveInt
    """Examples per step over all ranks and all accumulated passes."""

    num_epochs: PositiveInt | None = None
    """Passes over the training split. Either this or `num_steps`."""

    num_steps: PositiveInt | None = None
    """Steps, that is optimizer updates. Either this or `num_epochs`."""

    gradient_accumulation_steps: PositiveInt = 1
    """Backward passes per step. More of them need less memory for the same global batch."""

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """The Keras dtype policy: what layers compute in. Weights are float32 always."""

    seed: Seed = 0
    """Seed of initial weights, order of the examples and augmentation."""

    check_every_steps: NonNegativeInt = 100
    """Steps between two comparisons of weights and optimizer state over all ranks.

    0 compares at the start and at the end only.
    """

    def __post_init__(self) -> None:
        if (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError("exactly one of num_epochs and num_steps (null unsets one)")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Synchronization:
    """How the ranks bring their gradients together."""

    mode: Literal["allreduce"] = "allreduce"
    """`allreduce`: every rank holds the whole model and the mean of all gradients."""

    compression: Literal["none", "fp16"] = "none"
    """What gradients are sent as. `fp16` halves the traffic and rounds the gradients."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How the held-out split is evaluated."""

    block_size: PositiveInt = 64
    """Examples that one rank evaluates at a time.

    The held-out examples are cut into blocks of this many and the blocks are dealt to the
    ranks, so that every number of ranks computes the very same blocks.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One complete training run."""

    data: Data
    """Where the images are."""

    model: Model
    """The network."""

    optimizer: Optimizer
    """The optimizer."""

    schedule: Schedule
    """The learning rate at every step."""

    train: Train
    """How long and how to train."""

    augment: tuple[Augmentation, ...] = ()
    """Random changes of the training images, applied in this order."""

    loss: Loss = CrossEntropy()
    """What training minimises."""

    synchronization: Synchronization = Synchronization()
    """How the ranks bring their gradients together."""

    evaluation: Evaluation = Evaluation()
    """How the held-out split is evaluated."""

    run_dir: str | None = None
    """Directory of the run. Without it `runs/<pipeline>-<n>` with the first free n."""
