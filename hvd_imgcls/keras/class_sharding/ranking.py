"""The class with the largest logit, and the place of the label, of classes in parts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import drawn_classes


def classes_of_columns(part: ClassPart) -> tf.Tensor:
    """Returns the classes of this rank's logits, ascending, `[columns]`, int32."""
    drawn = drawn_classes()
    places = tf.range(len(part.classes)) if drawn is None else drawn.places
    return part.classes.start + places


def predicted_classes(part: ClassPart, logits: tf.Tensor) -> tf.Tensor:
    """Returns the class of the largest logit of each example of the group, the lowest of several.

    Collective: every rank must call this.

    Args:
        part: This rank's classes.
        logits: `[group_batch, columns]`.

    Returns:
        `[group_batch]`, int32.
    """
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    classes = tf.gather(classes_of_columns(part), best)
    # Class numbers are exact in float32.
    own = tf.stack([tf.reduce_max(logits, axis=-1), tf.cast(classes, tf.float32)], axis=-1)
    of_parts = part.gather(own[tf.newaxis], "predictions")
    values, classes = tf.unstack(of_parts, axis=-1)
    is_largest = tf.equal(values, tf.reduce_max(values, axis=0))
    # The parts have ascending classes.
    return tf.cast(tf.reduce_min(tf.where(is_largest, classes, np.inf), axis=0), tf.int32)


def logits_of_labels(
    part: ClassPart, logits: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the labels' logits, and in which column of this rank they are.

    Collective: every rank must call this.

    Args:
        part: This rank's classes.
        logits: `[group_batch, columns]`.
        labels: Of the group, `[group_batch]`, int32.

    Returns:
        Logits, `[group_batch]`; and columns, `[group_batch]`, int32: -1 for labels of other ranks.
    """
    classes = classes_of_columns(part)
    places = tf.minimum(tf.searchsorted(classes, labels), tf.shape(classes)[0] - 1)
    is_own = tf.equal(tf.gather(classes, places), labels)
    own = tf.gather(logits, places, batch_dims=1)
    # One rank adds the logit, the others 0: the sum is exact.
    summed = part.reduce(tf.where(is_own, own, 0.0), ReduceOp.SUM, "logits_of_labels")
    return summed, tf.where(is_own, places, -1)


def is_before(row: tf.Tensor, classes: tf.Tensor, value: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns which classes come before the label, by descending logit and ascending class.

    Args:
        row: Logits of an example, `[columns]`.
        classes: Their classes, `[columns]`.
        value: Logit of the label, scalar.
        label: Scalar.
    """
    return (row > value) | (tf.equal(row, value) & (classes < label))


def places_of_labels(part: ClassPart, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the rank of the labels among the logits of all parts, `[group_batch]`, int32.

    0 is the largest logit; of equal ones, the lower class comes first. Collective: every rank must
    call this.

    Args:
        part: This rank's classes.
        logits: `[group_batch, columns]`.
        labels: Of the group, `[group_batch]`, int32.
    """
    values, _ = logits_of_labels(part, logits, labels)
    classes = classes_of_columns(part)

    def count(example: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        row, value, label = example
        return tf.math.count_nonzero(is_before(row, classes, value, label), dtype=tf.int32)

    # Row by row: comparing all at once would take as much memory as the logits, several times.
    counts = tf.map_fn(count, (logits, values, labels), fn_output_signature=tf.int32)
    return part.reduce(counts, ReduceOp.SUM, "places")
