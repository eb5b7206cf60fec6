"""The dense layer of a part of the classes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import drawn_classes


class ClassShardedDense(keras.layers.Dense):
    """Logits of this rank's classes, for the examples of all ranks.

    From features `[batch, features]` to logits `[group_batch, own_classes]`, float32, where
    `group_batch` are the examples of all ranks of the group. The gradients of its weights, and of
    the features, are those of the sum of the losses of all ranks. In a training step for which
    classes are drawn, the logits are those of the drawn ones, `[group_batch, drawn]`.

    Collective: every rank must call this, and compute its gradient.

    Args:
        part: This rank's classes.
        use_bias: Whether there is a bias.
        name: Name of the layer.
    """

    def __init__(self, part: ClassPart, *, use_bias: bool, name: str) -> None:
        super().__init__(len(part.classes), use_bias=use_bias, dtype="float32", name=name)
        # Not tracked by Keras: it is no state.
        self.__dict__["part"] = part

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Returns the logits."""
        part: ClassPart = self.__dict__["part"]
        features = part.gather_features(inputs)
        values = [variable.value for variable in self.weights]
        drawn = drawn_classes()
        if drawn is not None:
            values = [drawn.columns(tf.convert_to_tensor(value)) for value in values]
        kernel, *bias = part.sum_over_copies(values)
        logits = tf.matmul(features, kernel)
        return logits + bias[0] if bias else logits
