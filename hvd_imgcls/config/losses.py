"""The losses that a pipeline selects by `name`.

To add one, add a section here, a member of the union, and an entry in the table that
builds losses.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, NonNegativeFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy between the targets and the softmax of the logits."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """Name of the loss."""

    label_smoothing: HalfOpenFraction = 0.0
    """Label smoothing: fraction of every target spread evenly over all classes. Training only."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy of each class (Beyer et al. 2020, arXiv:2006.07159).

    Wightman et al. 2021 (arXiv:2110.00476, section 3) train ResNets with it.
    """

    name: Literal["binary_cross_entropy"]
    """Name of the loss."""

    over_classes: Literal["mean", "sum"] = "mean"
    """How the losses of the classes are reduced for each example.

    `mean`: Keras's reduction and that of Wightman et al., whose optimizer, LAMB, is invariant to
    the scale of the loss. `sum`: gives SGD gradients of the usual size with many classes.
    """

    target_threshold: HalfOpenFraction | None = None
    """Targets above this value become 1 and others 0, so that a mixed image keeps both classes.

    Wightman et al. do so for mixup and cutmix; 0.2 is a common value. null leaves targets
    unchanged.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SquaredError:
    """Squared distance between the softmax of the logits and the targets, summed over classes.

    The score of Brier 1950 ("Verification of forecasts expressed in terms of probability").
    """

    name: Literal["squared_error"]
    """Name of the loss."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Focal:
    """Cross-entropy that down-weights easy examples (Lin et al. 2017, arXiv:1708.02002).

    `-sum of target * (1 - p) ** gamma * log(p)` over the classes, where p is the softmax of the
    logits. The paper uses a sigmoid for two classes; for its factor per class use
    `train.class_weights`.
    """

    name: Literal["focal"]
    """Name of the loss."""

    gamma: NonNegativeFloat = 2.0
    """Focusing parameter; 0 gives the cross-entropy. The default is the paper's (section 3.2)."""


Loss = Annotated[
    CrossEntropy | BinaryCrossEntropy | SquaredError | Focal, pydantic.Field(discriminator="name")
]
