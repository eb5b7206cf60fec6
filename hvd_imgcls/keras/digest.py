"""A 64-bit hash of a variable's exact bits, computed where the variable is.

Two ranks that are in step hold the same bits, so equality of one number per variable
is all that has to travel. The mixing constants are those of SplitMix64 (Steele, Lea,
Flood 2014, "Fast splittable pseudorandom number generators", figure 17).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.objects import native_variable

_BATCH_BYTES = 1 << 20

_GOLDEN = np.uint64(0x9E3779B97F4A7C15).astype(np.int64)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9).astype(np.int64)
_MIX_2 = np.uint64(0x94D049BB133111EB).astype(np.int64)


def digest_tensor(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the hash of a tensor's bits: a scalar, int64.

    A change of one element always changes it; several changes cancel out with a
    probability of about 2**-64.

    Args:
        tensor: Any shape; floating-point, integer or boolean.
    """
    return tf.reduce_sum(_mix(_as_words(tensor)))


def digest_variables(variables: Sequence[Any]) -> tf.Tensor:
    """Returns one hash for each variable: `[num_variables]`, int64.

    Small variables are mixed together, since an eager operation costs the same for one
    number as for thousands. So a hash says whether this variable, among these, is the
    same as on another rank; it is not that of `digest_tensor`.

    Args:
        variables: The same shapes and dtypes on all ranks, in the same order.
    """
    digests: list[Any] = [None] * len(variables)
    natives = [native_variable(variable) for variable in variables]
    for indices in _batches(natives):
        words = [_as_words(natives[index].read_value()) for index in indices]
        mixed = _mix(tf.concat(words, 0))
        for index, part in zip(indices, tf.split(mixed, [len(w) for w in words]), strict=True):
            digests[index] = tf.reduce_sum(part)
    return tf.stack(digests) if digests else tf.zeros([0], tf.int64)


def _batches(variables: Sequence[Any]) -> list[list[int]]:
    """Returns indices of variables in groups of up to `_BATCH_BYTES`, or one alone."""
    batches: list[list[int]] = []
    room = 0
    for index, variable in enumerate(variables):
        size = variable.shape.num_elements() * variable.dtype.size
        if not batches or size > room:
            batches.append([])
            room = _BATCH_BYTES
        batches[-1].append(index)
        room -= size
    return batches


def _mix(words: tf.Tensor) -> tf.Tensor:
    positions = tf.range(tf.size(words, out_type=tf.int64), dtype=tf.int64)
    mixed = (words + positions * _GOLDEN) * _MIX_1
    return tf.bitwise.bitwise_xor(mixed, _shift_right(mixed, 31)) * _MIX_2


def _shift_right(words: tf.Tensor, bits: int) -> tf.Tensor:
    """Shifts zeros in: TensorFlow shifts in the sign of int64, and x and ~x then collide."""
    shifted = tf.bitwise.right_shift(words, tf.constant(bits, tf.int64))
    return tf.bitwise.bitwise_and(shifted, tf.constant((1 << (64 - bits)) - 1, tf.int64))


def _as_words(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor's bytes as int64, padded with zeros."""
    if tensor.dtype == tf.bool:
        tensor = tf.cast(tensor, tf.uint8)
    flat = tf.reshape(tensor, [-1])
    per_word = 8 // flat.dtype.size
    if per_word == 1:
        return tf.bitcast(flat, tf.int64)
    carrier = {1: tf.uint8, 2: tf.uint16, 4: tf.int32}[flat.dtype.size]
    flat = tf.bitcast(flat, carrier)
    padding = -tf.size(flat) % per_word
    return tf.bitcast(tf.reshape(tf.pad(flat, [[0, padding]]), [-1, per_word]), tf.int64)
