"""Adasum: a sum that does not grow if the gradients of the ranks are parallel.

Maleki et al. 2020, "Scaling Distributed Training with Adaptive Summation"
(arXiv:2006.02924), equation 4:
    adasum(a, b) = (1 - a.b / (2 |a|^2)) a + (1 - a.b / (2 |b|^2)) b
applied over a binary tree of ranks, separately for each tensor. Orthogonal gradients
are added, parallel ones averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.variables import num_elements


def grouped_adasum(
    tensors: Sequence[tf.Tensor],
    *,
    name: str,
    process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> list[tf.Tensor]:
    """Returns the tensors combined by Adasum. Collective: every rank must call this.

    Horovod implements it for MPI only; this one also works over Gloo. Every
    rank gathers all gradients, which takes `size` times their memory.

    Args:
        tensors: Floating-point tensors, same shapes on all ranks.
        name: Name of the operation.
        process_set: The participating ranks; their number must be a power of two.
        prescale_factor: Factor applied before the reduction.
        postscale_factor: Factor applied after it.

    Raises:
        ConfigError: If the number of ranks is not a power of two.
    """
    size = require_power_of_two(process_set)
    ranks = distributed.current()
    flat = tf.concat([tf.reshape(tf.cast(t, tf.float32), [-1]) for t in tensors], 0)
    gathered = ranks.allgather(
        (flat * prescale_factor)[tf.newaxis], name=f"{name}.adasum", process_set=process_set
    )
    lengths = [num_elements(tensor) for tensor in tensors]
    combined = [
        _combine(tf.unstack(part, num=size)) * postscale_factor
        for part in tf.split(gathered, lengths, axis=1)
    ]
    return [
        tf.cast(tf.reshape(result, tf.shape(tensor)), tensor.dtype)
        for result, tensor in zip(combined, tensors, strict=True)
    ]


def require_power_of_two(process_set: ProcessSet) -> int:
    """Returns the number of ranks.

    Raises:
        ConfigError: If it is not a power of two.
    """
    size = process_set.size() or 1
    if size & (size - 1):
        raise ConfigError(
            "op=Adasum",
            got=f"{size} ranks",
            expected="a power of two, since the ranks are combined in pairs",
            fix="use another number of ranks or op=Average",
        )
    return size


def _combine(rows: list[tf.Tensor]) -> tf.Tensor:
    """Combines the ranks' rows in neighbouring pairs until one is left."""
    while len(rows) > 1:
        rows = [_adasum_of_two(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    return rows[0]


def _adasum_of_two(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    a64, b64 = tf.cast(a, tf.float64), tf.cast(b, tf.float64)
    dot = tf.reduce_sum(a64 * b64)
    a_weight = 1.0 - tf.math.divide_no_nan(dot, 2.0 * tf.reduce_sum(a64 * a64))
    b_weight = 1.0 - tf.math.divide_no_nan(dot, 2.0 * tf.reduce_sum(b64 * b64))
    return tf.cast(a_weight * a64 + b_weight * b64, tf.float32)
