"""The parts that a pipeline chooses by `name`: source, model, loss, optimizer, schedule.

The augmentations are in `hvd_imgcls.config.augmentations`.

A part with several kinds is a union that is told apart by `name`. A new kind is a new
section here, one more member of its union, and an entry in the table that builds it.
"""

from __future__ import annotations

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
    Seed,
)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class DigitsSource:
    """1,797 scanned handwritten digits of 8 by 8 pixels that come with scikit-learn."""

    name: Literal["digits"]
    """Which source this is."""

    held_out_fraction: OpenFraction = 0.2
    """Fraction of the images of every class that is held out of training, for evaluation."""

    split_seed: Seed = 0
    """Seed of the choice which images are held out. Change it for another split."""


# Becomes a union told apart by `name` with the second source.
Source = DigitsSource


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SmallCnn:
    """Two convolutions and two dense layers, without batch normalisation."""

    name: Literal["small_cnn"]
    """Which model this is."""

    num_filters: tuple[PositiveInt, PositiveInt] = (32, 64)
    """Filters of the first and the second 3 by 3 convolution."""

    num_hidden_units: PositiveInt = 128
    """Units of the first dense layer. The second one has a unit per class."""


# Becomes a union told apart by `name` with the second model.
Model = SmallCnn


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy between the targets and the softmax of the logits."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """Which loss this is."""

    label_smoothing: HalfOpenFraction = 0.0
    """Part of every target that is spread evenly over all classes, in training only."""


# Becomes a union told apart by `name` with the second loss.
Loss = CrossEntropy


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Sgd:
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    """Which optimizer this is."""

    momentum: HalfOpenFraction = 0.9
    """Part of the last update that is added to the next. 0 for none."""

    nesterov: bool = False
    """Whether the momentum is Nesterov's."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of all variables, multiplied by the learning rate. 0 for none."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    name: Literal["adam"]
    """Which optimizer this is."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the root of the squares so that nothing is divided by 0. Keras's default."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"]
    """Which optimizer this is."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the root of the squares so that nothing is divided by 0. Keras's default."""

    weight_decay: NonNegativeFloat = 0.004
    """Decoupled weight decay of all variables, multiplied by the learning rate.

    The default is Keras's. 0 for none.
    """


Optimizer = Annotated[Sgd | Adam | AdamW, pydantic.Field(discriminator="name")]


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
