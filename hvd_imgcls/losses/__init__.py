"""Losses by their names in a pipeline file."""

from __future__ import annotations

import keras

from hvd_imgcls.config.losses import BinaryCrossEntropy, CrossEntropy, Focal, Loss
from hvd_imgcls.losses.of_logits import (
    FocalCrossEntropy,
    PerClassCrossEntropy,
    SquaredProbabilityError,
)
from hvd_imgcls.losses.reconstruction import PixelError

__all__ = ["PixelError", "build_loss"]


def build_loss(config: Loss) -> keras.losses.Loss:
    """Returns the loss between targets and logits, both `[batch, num_classes]`.

    With a sample_weight, `[batch]`, it is the mean over the batch of weight times loss: divided
    by the number of examples, not by the weights, so that the mean over ranks equals that of one
    rank with the whole batch. Keras's own loss is used if there is one, so that a saved model
    can be trained further without this package.
    """
    if isinstance(config, CrossEntropy):
        return keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        )
    if isinstance(config, BinaryCrossEntropy):
        if config.target_threshold is None and config.over_classes == "mean":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return PerClassCrossEntropy(config.over_classes, config.target_threshold)
    if isinstance(config, Focal):
        return FocalCrossEntropy(config.gamma)
    return SquaredProbabilityError()
