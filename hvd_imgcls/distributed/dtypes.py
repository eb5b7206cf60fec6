"""Dtypes that Horovod 0.28.1 cannot carry, and what carries them instead.

Horovod knows uint8, int8, uint16, int16, int32, int64, float16, float32, float64 and
bool. Moving bits (allgather, broadcast, alltoall) needs only the width, so the others
travel as an integer of the same width; adding them needs a real dtype.
"""

from __future__ import annotations

import tensorflow as tf

_SAME_BITS = {
    tf.bfloat16: tf.uint16,
    tf.uint32: tf.int32,
    tf.uint64: tf.int64,
    tf.complex64: tf.int64,
}
# bfloat16 sums in float32: exact for the two operands, and one rounding at the end.
_SAME_SUM = {tf.bfloat16: tf.float32, tf.uint32: tf.int64}


def as_carried_bits(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the same bits in a dtype that Horovod can move."""
    carrier = _SAME_BITS.get(tensor.dtype)
    return tensor if carrier is None else tf.bitcast(tensor, carrier)


def from_carried_bits(tensor: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the tensor that `as_carried_bits` was given, of dtype `dtype`."""
    return tensor if tensor.dtype == dtype else tf.bitcast(tensor, dtype)


def as_summable(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the values in a dtype in which Horovod can add them."""
    carrier = _SAME_SUM.get(tensor.dtype)
    return tensor if carrier is None else tf.cast(tensor, carrier)
