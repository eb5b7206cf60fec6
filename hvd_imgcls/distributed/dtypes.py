"""Dtypes that Horovod 0.28.1 does not support, and the dtypes used instead.

Horovod supports uint8, int8, uint16, int16, int32, int64, float16, float32, float64 and
bool. Moving data (allgather, broadcast, alltoall) depends only on the width, so other dtypes
are bit-cast to an integer of the same width; reductions need a real dtype.
"""

from __future__ import annotations

import tensorflow as tf

_SAME_BITS = {
    tf.bfloat16: tf.uint16,
    tf.uint32: tf.int32,
    tf.uint64: tf.int64,
    tf.complex64: tf.int64,
}
# bfloat16 is summed in float32: exact for two operands, with one rounding at the end.
_SAME_SUM = {tf.bfloat16: tf.float32, tf.uint32: tf.int64}


def as_carried_bits(tensor: tf.Tensor) -> tf.Tensor:
    """Bit-casts a tensor to a dtype that Horovod can move."""
    carrier = _SAME_BITS.get(tensor.dtype)
    return tensor if carrier is None else tf.bitcast(tensor, carrier)


def from_carried_bits(tensor: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Reverts `as_carried_bits`; `dtype` is the original dtype."""
    return tensor if tensor.dtype == dtype else tf.bitcast(tensor, dtype)


def as_summable(tensor: tf.Tensor) -> tf.Tensor:
    """Casts a tensor to a dtype that Horovod can sum."""
    carrier = _SAME_SUM.get(tensor.dtype)
    return tensor if carrier is None else tf.cast(tensor, carrier)
