"""Means of the values of largest magnitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.keras.compression.lossy_mean import LossyMean, flat, split_like
from hvd_imgcls.keras.graph.variables import native_variable

_SHIFT = 15
"""Bits of a magnitude that are not compared: exponent and 8 bits of the mantissa remain."""


class TopKMean(LossyMean):
    """Gathers the largest values of all ranks and their positions."""

    def _mean_of_group(
        self, tensors: list[tf.Tensor], variables: list[Any], name: str
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """See `LossyMean`. Collective: every rank must call this."""
        values = flat(tensors)
        count = self._count(values.shape[0])
        positions = largest(values, count)
        chosen = tf.gather(values, positions)
        message = tf.stack([positions, tf.bitcast(chosen, tf.int32)])
        gathered = distributed.current().allgather(message, name=name, process_set=self.process_set)
        gathered = tf.reshape(gathered, [self.size, 2, count])
        total = tf.zeros_like(values)
        # Rank by rank, so that all ranks add in the same order.
        for rank in range(self.size):
            total += _scattered(gathered[rank, 0], gathered[rank, 1], values.shape[0])
        sent = _scattered(positions, message[1], values.shape[0])
        mean = total / float(self.size)
        return split_like(mean, tensors), split_like(sent, tensors)

    def _count(self, num_values: int) -> int:
        return max(1, math.ceil(self.settings.fraction * num_values))

    def bytes_sent(self, variables: Sequence[Any]) -> int:
        """See `LossyMean.bytes_sent`."""
        num_values = sum(native_variable(v).shape.num_elements() for v in variables)
        return (self.size - 1) * 8 * self._count(num_values)


def largest(values: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the positions of the values of largest magnitude, `[count]`, int32.

    Magnitudes are compared by exponent and 8 bits, and otherwise by position: counting them takes
    one pass, where sorting takes many. NaN is larger than all numbers.

    Args:
        values: `[values]`, float32.
        count: How many, at most as many as there are.
    """
    # The bits of floats that are not negative have the order of the numbers.
    magnitudes = tf.bitwise.right_shift(tf.bitcast(tf.abs(values), tf.int32), _SHIFT)
    per_magnitude = tf.math.bincount(magnitudes, minlength=2 ** (31 - _SHIFT))
    at_least = tf.cumsum(per_magnitude, reverse=True)
    # The lowest magnitude of which all values are taken, and of the next lower one some.
    lowest = tf.reduce_sum(tf.cast(at_least > count, tf.int32))
    surely = tf.where(magnitudes >= lowest)[:, 0]
    others = tf.where(tf.equal(magnitudes, lowest - 1))[:, 0]
    positions = tf.concat([surely, others[: count - tf.size(surely)]], axis=0)
    return tf.ensure_shape(tf.cast(positions, tf.int32), [count])


def _scattered(positions: tf.Tensor, bits: tf.Tensor, num_values: int) -> tf.Tensor:
    """Returns the values `[num_values]` that have these bits at these positions, and 0."""
    return tf.scatter_nd(positions[:, tf.newaxis], tf.bitcast(bits, tf.float32), [num_values])
