"""The losses that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, and an entry in the table that
builds it.
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
    """Which loss this is."""

    label_smoothing: HalfOpenFraction = 0.0
    """Part of every target that is spread evenly over all classes, in training only."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class BinaryCrossEntropy:
    """Cross-entropy of every class by itself, with a sigmoid (Beyer et al. 2020, arXiv:2006.07159).

    Wightman et al. 2021 (arXiv:2110.00476, section 3) train ResNets with it.
    """

    name: Literal["binary_cross_entropy"]
    """Which loss this is."""

    over_classes: Literal["mean", "sum"] = "mean"
    """What the losses of the classes of one example are put together by.

    `mean` is Keras's and that of Wightman et al., whose optimizer, LAMB, does not depend on the
    scale of a loss. `sum` gives SGD gradients of the usual size for many classes.
    """

    target_threshold: HalfOpenFraction | None = None
    """Targets above this become 1 and others 0, so that a mixed image has both its classes.

    That is what Wightman et al. do with mixup and cutmix; 0.2 is a value in use. null leaves
    targets as they are.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SquaredError:
    """Squared distance of the softmax of the logits from the targets, summed over classes.

    The score of Brier 1950 ("Verification of forecasts expressed in terms of probability").
    """

    name: Literal["squared_error"]
    """Which loss this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Focal:
    """Cross-entropy with less weight on what is easy (Lin et al. 2017, arXiv:1708.02002).

    `-sum of target * (1 - p) ** gamma * log(p)` over the classes, p the softmax of the logits.
    The paper has a sigmoid and two classes; its factor per class is `train.class_weights` here.
    """

    name: Literal["focal"]
    """Which loss this is."""

    gamma: NonNegativeFloat = 2.0
    """How much less. 0 is the cross-entropy. The default is the paper's (section 3.2)."""


Loss = Annotated[
    CrossEntropy | BinaryCrossEntropy | SquaredError | Focal, pydantic.Field(discriminator="name")
]
