"""Accuracy of predictions whose classes are divided over the ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import drawn_classes
from hvd_imgcls.keras.class_sharding.targets import heaviest_class, targets_from


class ClassShardedAccuracy(keras.metrics.Mean):
    """`keras.metrics.CategoricalAccuracy` of all classes, over the examples of this rank.

    In a training step for which classes are drawn, only those count. Of equal logits, and of equal
    targets, the lowest class counts, as with `argmax`.

    Collective: every rank must call `update_state`.

    Args:
        part: This rank's classes.
        name: Name of the metric.
    """

    def __init__(self, part: ClassPart, name: str = "accuracy") -> None:
        super().__init__(name=name)
        self._part = part

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch. Collective.

        Args:
            y_true: `[batch, 2 k]`: the weights of k classes, then their numbers; or class numbers,
                `[batch]`.
            y_pred: Logits `[group_batch, own_classes]`.
            sample_weight: `[batch]`.
        """
        predicted = self._predicted(tf.convert_to_tensor(y_pred), tf.shape(y_true)[0])
        targets = targets_from(tf.convert_to_tensor(y_true))
        is_right = tf.equal(predicted, heaviest_class(targets))
        super().update_state(tf.cast(is_right, tf.float32), sample_weight=sample_weight)

    def _predicted(self, logits: tf.Tensor, num_own: tf.Tensor) -> tf.Tensor:
        """Returns the class of the largest logit of each example of this rank. Collective."""
        part = self._part
        best, drawn = tf.argmax(logits, axis=-1, output_type=tf.int32), drawn_classes()
        classes = part.classes.start + (best if drawn is None else tf.gather(drawn.places, best))
        # Class numbers are exact in float32.
        own = tf.stack([tf.reduce_max(logits, axis=-1), tf.cast(classes, tf.float32)], axis=-1)
        of_parts = part.gather(own[tf.newaxis], "predictions")
        values, classes = tf.unstack(of_parts, axis=-1)
        is_largest = tf.equal(values, tf.reduce_max(values, axis=0))
        # The parts have ascending classes.
        best = tf.reduce_min(tf.where(is_largest, classes, np.inf), axis=0)
        return tf.cast(part.own_rows(best, num_own), tf.int32)
