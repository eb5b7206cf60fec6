"""The `evaluation` section: how the held-out split is evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Operating points to report for each class, one-vs-rest."""

    recall: tuple[LeftOpenFraction, ...] = ()
    """For each value, report the highest probability threshold with at least this recall."""

    precision: tuple[LeftOpenFraction, ...] = ()
    """For each value, report the threshold of highest recall with at least this precision."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How the held-out split is evaluated."""

    every_epochs: PositiveInt | None = None
    """Epochs between two evaluations during training, in addition to the final one.

    Their `val_loss`, `val_top1`, `val_balanced_accuracy` and `val_roc_auc` (one-vs-rest, macro
    average) are passed to callbacks and written to `metrics.jsonl`. null for none. With
    `train.ema` they are computed with the raw weights, not the average.
    """

    metrics: Literal["all", "by_example"] | None = None
    """Which metrics are computed.

    `all`: all of them. Areas under the curves, average precision, thresholds and slices need the
    probabilities of all classes for all held-out examples. `by_example`: those that follow from the
    predicted class, the rank and probability of the label, and the loss of each example; with
    `model.head: class_sharded` they are computed from the parts, and no rank has the scores of all
    classes. With more than 1,000 classes, `by_example` has no metrics per class and no
    confusion matrix. null: `by_example` with `model.head: class_sharded`, else `all`.
    """

    block_size: PositiveInt = 64
    """Evaluation batch size of one rank.

    The held-out examples are divided into blocks of this size, which are assigned to the ranks, so
    that the blocks are the same on any number of ranks.
    """

    thresholds: Thresholds = Thresholds()
    """Operating points to report."""

    views: Literal["one", "flip", "flip_and_shift"] = "one"
    """Test-time augmentation: the views of an image whose logits are averaged.

    `one`: the image itself. `flip`: also its horizontal mirror image. `flip_and_shift`: also both
    shifted by one pixel up and left, and down and right, with half the total weight (Jordan 2024,
    arXiv:2404.00498, section 3.5). Report it with any result: more views reduce the error at
    2 or 6 times the cost.
    """

    crop_fraction: LeftOpenFraction = 0.875
    """Fraction of the shorter side of an image file that the centre crop keeps.

    The square is then resized to `data.image_size`. The default is 224 of 256 pixels, as in
    Krizhevsky et al. 2012 ("ImageNet classification with deep convolutional neural networks",
    section 4.1). Use 1 for images in which the object fills the frame.
    """
