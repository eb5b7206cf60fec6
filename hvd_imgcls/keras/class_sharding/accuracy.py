"""Accuracy of predictions whose classes are divided over the ranks."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.ranking import places_of_labels, predicted_classes
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
        labels = heaviest_class(targets_from(tf.convert_to_tensor(y_true)))
        predicted = predicted_classes(self._part, tf.convert_to_tensor(y_pred))
        is_right = tf.equal(self._part.own_rows(predicted, tf.shape(labels)[0]), labels)
        super().update_state(tf.cast(is_right, tf.float32), sample_weight=sample_weight)


class ClassShardedTopKAccuracy(keras.metrics.Mean):
    """`keras.metrics.TopKCategoricalAccuracy` of all classes, over the examples of this rank.

    As `ClassShardedAccuracy`. Of equal logits, those of lower classes come first.

    Collective: every rank must call `update_state`.

    Args:
        part: This rank's classes.
        k: An example is right if fewer than `k` classes come before its label.
        name: Name of the metric.
    """

    def __init__(self, part: ClassPart, k: int, name: str) -> None:
        super().__init__(name=name)
        self._part = part
        self._k = k

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch: see `ClassShardedAccuracy.update_state`. Collective."""
        part = self._part
        own = heaviest_class(targets_from(tf.convert_to_tensor(y_true)))
        labels = part.gather(own, "labels")
        places = places_of_labels(part, tf.convert_to_tensor(y_pred), labels)
        is_right = part.own_rows(places, tf.shape(own)[0]) < self._k
        super().update_state(tf.cast(is_right, tf.float32), sample_weight=sample_weight)
