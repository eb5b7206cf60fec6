"""Targets of few classes per example, as `data.pipeline.class_targets` makes them."""

from __future__ import annotations

import tensorflow as tf

MAX_CLASSES = 2**24
"""Class numbers up to this are exact in float32."""


def targets_from(y_true: tf.Tensor) -> tf.Tensor:
    """Returns targets of few classes per example, `[batch, 2 k]`, float32.

    Args:
        y_true: Those, or class numbers, `[batch]` or `[batch, 1]`, any number type.
    """
    if y_true.shape.rank == 2 and y_true.shape[-1] != 1:
        return tf.cast(y_true, tf.float32)
    classes = tf.cast(tf.reshape(y_true, [-1]), tf.float32)
    return tf.stack([tf.ones_like(classes), classes], axis=-1)


def weights_and_classes(targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weights, float32, and the classes, int32, both `[batch, k]`.

    Args:
        targets: `[batch, 2 k]`, float32: the weights, then the class numbers.
    """
    weights, classes = tf.split(targets, 2, axis=-1)
    return weights, tf.cast(classes, tf.int32)


def heaviest_class(targets: tf.Tensor) -> tf.Tensor:
    """Returns the class with the largest weight, the lowest of several, `[batch]`, int32.

    Args:
        targets: As for `weights_and_classes`; a class may occur several times.
    """
    weights, classes = weights_and_classes(targets)
    is_same = tf.equal(classes[:, :, tf.newaxis], classes[:, tf.newaxis, :])
    totals = tf.linalg.matvec(tf.cast(is_same, tf.float32), weights)
    is_largest = tf.equal(totals, tf.reduce_max(totals, axis=-1, keepdims=True))
    return tf.reduce_min(tf.where(is_largest, classes, tf.int32.max), axis=-1)
