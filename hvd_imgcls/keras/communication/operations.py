"""Collective operations on values, with Horovod's names and arguments.

All of them are collective: every rank of the process set must call them. They take
tensors, variables, arrays and numbers, eagerly and inside `tf.function`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication import adasum
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.graph.autograph import without_autograph

Average = ReduceOp.AVERAGE
Sum = ReduceOp.SUM
Adasum = ReduceOp.ADASUM
Min = ReduceOp.MIN
Max = ReduceOp.MAX
Product = ReduceOp.PRODUCT


def as_tensor(value: Any) -> tf.Tensor:
    """Converts a TensorFlow or Keras variable, array, number or tensor to a tensor."""
    if isinstance(value, keras.Variable):
        value = value.value
    return tf.convert_to_tensor(value)


def _operation(op: ReduceOp | int | None, average: bool | None) -> ReduceOp:
    if average is not None:
        if op is not None:
            raise ConfigError(
                "average", got=average, expected="nothing in addition to `op`", fix="pass only `op`"
            )
        return Average if average else Sum
    return Average if op is None else ReduceOp(op)


@without_autograph
def allreduce(
    value: Any,
    name: str | None = None,
    average: bool | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    op: ReduceOp | None = None,
    compression: Any = Compression.none,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Returns `value` reduced over the ranks. Collective.

    Args:
        value: Same shape and dtype on all ranks; `tf.IndexedSlices` are gathered.
        name: Name of the operation. Required if several run at the same time.
        average: Deprecated alternative to `op=Average` or `op=Sum`.
        prescale_factor: Factor applied before the reduction.
        postscale_factor: Factor applied after it.
        op: Average (default), Sum, Min, Max, Product or Adasum.
        compression: Compression for the transfer.
        process_set: The participating ranks.
    """
    op = _operation(op, average)
    return grouped_allreduce(
        [value],
        name=name or "allreduce",
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
        op=op,
        compression=compression,
        process_set=process_set,
    )[0]


@without_autograph
def grouped_allreduce(
    values: Sequence[Any],
    name: str | None = None,
    average: bool | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    op: ReduceOp | None = None,
    compression: Any = Compression.none,
    process_set: ProcessSet = global_process_set,
) -> list[Any]:
    """Returns the values reduced over the ranks, in one operation. Collective.

    Arguments as for `allreduce`. `tf.IndexedSlices` stay what they are; each is gathered in
    operations of its own.
    """
    op = _operation(op, average)
    name = name or "grouped_allreduce"
    results: list[Any] = list(values)
    dense = []
    for index, value in enumerate(values):
        if isinstance(value, tf.IndexedSlices):
            scaled = tf.IndexedSlices(
                _times(value.values, prescale_factor), value.indices, value.dense_shape
            )
            reduced = allreduce_slices(
                scaled, op, f"{name}.slices_{index}", process_set, compression
            )
            results[index] = tf.IndexedSlices(
                _times(reduced.values, postscale_factor), reduced.indices, reduced.dense_shape
            )
        else:
            dense.append(index)
    if not dense:
        return results
    sent, contexts = [], []
    for index in dense:
        compressed, context = compression.compress(as_tensor(values[index]))
        sent.append(compressed)
        contexts.append(context)
    ranks = distributed.current()
    reduce = adasum.grouped_adasum if op == Adasum else ranks.grouped_allreduce
    arguments: dict[str, Any] = {
        "name": name,
        "process_set": process_set,
        "prescale_factor": prescale_factor,
        "postscale_factor": postscale_factor,
    }
    if op != Adasum:
        arguments["op"] = op
    for index, tensor, context in zip(dense, reduce(sent, **arguments), contexts, strict=True):
        results[index] = compression.decompress(tensor, context)
    return results


def _times(values: tf.Tensor, factor: float) -> tf.Tensor:
    """Returns the product; that of integers is computed in float64 and cut off, as in Horovod."""
    if factor == 1.0:
        return values
    if values.dtype.is_integer:
        return tf.cast(tf.cast(values, tf.float64) * factor, values.dtype)
    return values * tf.cast(factor, values.dtype)


def allreduce_slices(
    slices: tf.IndexedSlices,
    op: ReduceOp,
    name: str,
    process_set: ProcessSet,
    compression: Any = Compression.none,
) -> tf.IndexedSlices:
    """Returns the concatenated rows of all ranks. Collective.

    Args:
        slices: The rows of this rank, any number.
        op: Average or Sum.
        name: Prefix of the names of its operations.
        process_set: The participating ranks.
        compression: Compression for the transfer of the values.

    Raises:
        ConfigError: For an operation other than Average and Sum.
    """
    if op not in (Average, Sum):
        raise ConfigError(
            "op",
            got=op.name,
            expected="Average or Sum for tf.IndexedSlices",
            fix="pass sparse_as_dense=True",
        )
    ranks = distributed.current()
    compressed, context = compression.compress(slices.values)
    gathered = ranks.allgather(compressed, name=f"{name}.values", process_set=process_set)
    values = compression.decompress(gathered, context)
    indices = ranks.allgather(slices.indices, name=f"{name}.indices", process_set=process_set)
    if op == Average:
        values = values / tf.cast(process_set.size(), values.dtype)
    return tf.IndexedSlices(values, indices, slices.dense_shape)


@without_autograph
def allgather(
    value: Any, name: str | None = None, process_set: ProcessSet = global_process_set
) -> tf.Tensor:
    """Returns the ranks' values concatenated along axis 0, whose length may differ. Collective."""
    return distributed.current().allgather(
        as_tensor(value), name=name or "allgather", process_set=process_set
    )


@without_autograph
def broadcast(
    value: Any,
    root_rank: int,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> tf.Tensor:
    """Returns the value of the global rank `root_rank`. Collective."""
    return distributed.current().broadcast(
        as_tensor(value), root_rank, name=name or "broadcast", process_set=process_set
    )


@without_autograph
def reducescatter(
    value: Any,
    name: str | None = None,
    op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> tf.Tensor:
    """Returns this rank's part, along axis 0, of the reduced value. Collective.

    Args:
        value: Same shape on all ranks. If axis 0 is not divisible, the first ranks get
            one more row.
        name: Name of the operation.
        op: Average or Sum.
        process_set: The participating ranks.
        prescale_factor: Factor applied before the reduction.
        postscale_factor: Factor applied after it.
    """
    part = distributed.current().reducescatter(
        _times(as_tensor(value), prescale_factor),
        op=ReduceOp(op),
        name=name or "reducescatter",
        process_set=process_set,
    )
    return _times(part, postscale_factor)


def barrier(process_set: ProcessSet = global_process_set) -> None:
    """Waits for all ranks. Collective: every rank must call this."""
    distributed.current().barrier(process_set)
