"""Losses that Keras does not have, or does not compute from logits.

Each takes targets `[batch, num_classes]`, one-hot or soft, and logits of the same shape, and
returns a loss per example, `[batch]`, float32.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("hvd_imgcls")
class PerClassCrossEntropy(keras.losses.Loss):
    """Sigmoid cross-entropy of each class.

    Beyer et al. 2020 (arXiv:2006.07159, section 5) and Wightman et al. 2021 (arXiv:2110.00476,
    section 3) train networks with one label per image with this loss.

    Args:
        over_classes: How the losses of the classes are reduced.
        target_threshold: Targets above it become 1 and others 0; None leaves them unchanged.
        **keywords: Arguments of `keras.losses.Loss`.
    """

    def __init__(
        self,
        over_classes: Literal["mean", "sum"] = "mean",
        target_threshold: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.over_classes = over_classes
        self.target_threshold = target_threshold

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example."""
        if self.target_threshold is not None:
            y_true = tf.cast(y_true > self.target_threshold, y_pred.dtype)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
        reduce = tf.reduce_sum if self.over_classes == "sum" else tf.reduce_mean
        return reduce(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        own = {"over_classes": self.over_classes, "target_threshold": self.target_threshold}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("hvd_imgcls")
class FocalCrossEntropy(keras.losses.Loss):
    """Cross-entropy times `(1 - p) ** gamma`, where p is the softmax of the logits.

    Lin et al. 2017 (arXiv:1708.02002, equation 4), for several classes. Keras's own clips p at
    1e-7, so that a very wrong example has no gradient; here the logarithm is computed from the
    logits.

    Args:
        gamma: Focusing parameter, at least 0: how strongly easy examples are down-weighted.
        **keywords: Arguments of `keras.losses.Loss`.
    """

    def __init__(self, gamma: float = 2.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.gamma = gamma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example."""
        log_p = tf.nn.log_softmax(y_pred)
        # Not 0, whose power has an infinite slope for gamma below 1.
        rest = tf.maximum(1.0 - tf.exp(log_p), 1e-7)
        return -tf.reduce_sum(y_true * rest**self.gamma * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable("hvd_imgcls")
class SquaredProbabilityError(keras.losses.Loss):
    """Squared distance between the softmax of the logits and the targets, summed over classes.

    Brier 1950, "Verification of forecasts expressed in terms of probability".
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example, in [0, 2]."""
        return tf.reduce_sum(tf.square(tf.nn.softmax(y_pred) - y_true), axis=-1)
