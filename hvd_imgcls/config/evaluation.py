"""The `evaluation` section: how the held-out split is evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Operating points that are looked for, for each class against the others."""

    recall: tuple[LeftOpenFraction, ...] = ()
    """For each, the highest threshold of the class's probability with at least this recall."""

    precision: tuple[LeftOpenFraction, ...] = ()
    """For each, the threshold with the highest recall of those with at least this precision."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How the held-out split is evaluated."""

    every_epochs: PositiveInt | None = None
    """Epochs between two evaluations during the training, beside the one at the end.

    Their `val_loss`, `val_top1`, `val_balanced_accuracy` and `val_roc_auc` (the mean over classes,
    each against the others) are for callbacks and in `metrics.jsonl`. null for none. With
    `train.ema` they are those of the weights themselves, not of the average.
    """

    block_size: PositiveInt = 64
    """Examples that one rank evaluates at a time.

    The held-out examples are cut into blocks of this many and the blocks are dealt to the
    ranks, so that every number of ranks computes the very same blocks.
    """

    thresholds: Thresholds = Thresholds()
    """Operating points that are looked for."""

    views: Literal["one", "flip", "flip_and_shift"] = "one"
    """What an image is looked at as; the logits of the views are averaged.

    `one`: as it is. `flip`: also mirrored left to right. `flip_and_shift`: also both of them
    shifted by a pixel up and left, and down and right, which count half together (Jordan 2024,
    arXiv:2404.00498, section 3.5). Say it with any result: more views mean fewer errors, and
    2 or 6 times the work.
    """

    crop_fraction: LeftOpenFraction = 0.875
    """Part of the shorter side of an image file that the centre crop keeps.

    The square is then resized to `data.image_size`. The default is 224 of 256 pixels, the
    sizes of Krizhevsky et al. 2012 ("ImageNet classification with deep convolutional neural
    networks", section 4.1). Use 1 for images that fill their frame.
    """
