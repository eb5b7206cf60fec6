"""What an evaluation needs of every example, from the logits of all parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.ranking import (
    classes_of_columns,
    is_before,
    logits_of_labels,
    predicted_classes,
)


class ResultsFromParts:
    """Computes results of examples from the logits of all parts, none of which leaves its rank.

    The normalisation is exact: the maximum and the sum of the exponentials, in float64, are those
    of all parts.

    Args:
        part: This rank's classes.
    """

    def __init__(self, part: ClassPart) -> None:
        self._part = part
        self._compute = tf.function(self._results, autograph=False)

    def __call__(self, logits: tf.Tensor, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Returns the results of this rank's examples, arrays by field of `metrics.Examples`.

        Collective: every rank must call this with as many labels.

        Args:
            logits: Of this rank's classes, `[group_batch, own_classes]`, float32.
            labels: Of this rank's examples, `[batch]`.
        """
        results = self._compute(logits, tf.constant(labels, tf.int32))
        return {name: values.numpy() for name, values in results.items()}

    def _results(self, logits: tf.Tensor, own_labels: tf.Tensor) -> dict[str, tf.Tensor]:
        part, num_own = self._part, tf.shape(own_labels)[0]
        labels = part.gather(own_labels, "labels")
        top = part.reduce(tf.reduce_max(logits, axis=-1), ReduceOp.MAX, "maximum")
        values, columns = logits_of_labels(part, logits, labels)
        sums = self._sums(logits, top, values, columns, labels)
        total, squares, places = tf.unstack(part.reduce(sums, ReduceOp.SUM, "sums"), axis=-1)
        shifted = tf.cast(values, tf.float64) - tf.cast(top, tf.float64)
        probabilities = tf.exp(shifted) / total
        rows = {
            "predicted": tf.cast(predicted_classes(part, logits), tf.int64),
            "places": tf.cast(places, tf.int64),
            "confidences": 1.0 / total,
            "probabilities": probabilities,
            "losses": tf.math.log(total) - shifted,
            "brier": squares / total**2 + (probabilities - 1.0) ** 2,
        }
        return {name: part.own_rows(value, num_own) for name, value in rows.items()}

    def _sums(
        self,
        logits: tf.Tensor,
        top: tf.Tensor,
        values: tf.Tensor,
        columns: tf.Tensor,
        labels: tf.Tensor,
    ) -> tf.Tensor:
        """Returns sums over this rank's classes, `[group_batch, 3]`, float64.

        These are the exponentials, the squares of those of other classes than the label, and the
        number of classes before the label.
        """
        classes = classes_of_columns(self._part)
        numbers = tf.range(tf.shape(classes)[0])

        def of_row(example: tuple[tf.Tensor, ...]) -> tf.Tensor:
            row, top, value, column, label = example
            powers = tf.exp(tf.cast(row, tf.float64) - tf.cast(top, tf.float64))
            others = tf.where(tf.equal(numbers, column), tf.zeros_like(powers), powers)
            before = tf.math.count_nonzero(is_before(row, classes, value, label))
            return tf.stack(
                [
                    tf.reduce_sum(powers),
                    tf.reduce_sum(tf.square(others)),
                    tf.cast(before, tf.float64),
                ]
            )

        # Row by row: all at once would take several times the memory of the logits.
        return tf.map_fn(
            of_row,
            (logits, top, values, columns, labels),
            fn_output_signature=tf.TensorSpec([3], tf.float64),
        )
