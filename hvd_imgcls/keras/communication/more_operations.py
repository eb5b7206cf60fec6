"""Other operations of Horovod's TensorFlow module: several values at once, ranks as tensors.

Those that communicate are collective: every rank of the process set must call them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.objects import broadcast_variables
from hvd_imgcls.keras.communication.operations import Average, allgather, reducescatter
from hvd_imgcls.keras.graph.autograph import without_autograph


@without_autograph
def grouped_allgather(
    values: Sequence[Any], name: str | None = None, process_set: ProcessSet = global_process_set
) -> list[tf.Tensor]:
    """Returns each value of all ranks concatenated along axis 0. Collective.

    Args:
        values: Tensors, variables or arrays; the same number, dtypes and shapes except for axis 0
            on all ranks.
        name: Prefix of the names of the operations.
        process_set: The participating ranks.
    """
    prefix = name or "grouped_allgather"
    return [
        allgather(value, f"{prefix}.{index}", process_set) for index, value in enumerate(values)
    ]


@without_autograph
def grouped_reducescatter(
    values: Sequence[Any],
    name: str | None = None,
    op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> list[tf.Tensor]:
    """Returns this rank's part of each reduced value, as `reducescatter` does. Collective.

    Args:
        values: Tensors, variables or arrays, with the same shapes on all ranks.
        name: Prefix of the names of the operations.
        op: Average or Sum.
        process_set: The participating ranks.
        prescale_factor: Factor applied before the reduction.
        postscale_factor: Factor applied after it.
    """
    prefix = name or "grouped_reducescatter"
    factors = prescale_factor, postscale_factor
    return [
        reducescatter(value, f"{prefix}.{index}", op, process_set, *factors)
        for index, value in enumerate(values)
    ]


def broadcast_(
    variables: Sequence[Any],
    root_rank: int,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> list[Any]:
    """Broadcasts the root's values in-place and returns the variables. Collective.

    Arguments and errors as for `broadcast_variables`; `name` is accepted for compatibility.
    """
    variables = list(variables)
    broadcast_variables(variables, root_rank, process_set)
    return variables


def broadcast_global_variables(root_rank: int) -> None:
    """Raises an error: TensorFlow 2 has no collection of all variables.

    Raises:
        ConfigError: Always, with what to call instead.
    """
    raise ConfigError(
        "broadcast_global_variables",
        got=root_rank,
        expected="variables, since TensorFlow 2 keeps no list of all of them",
        fix="call hvd.broadcast_variables(model.variables, root_rank) and "
        "hvd.broadcast_variables(optimizer.variables, root_rank)",
    )


def rank_op(process_set_id: int = 0, name: str | None = None) -> tf.Tensor:
    """Returns the index of this process as a tensor: scalar, int32. Not collective.

    Args:
        process_set_id: Must be 0, the set of all ranks.
        name: Name of the tensor.

    Raises:
        ConfigError: For another process set.
    """
    _require_all_ranks("rank", process_set_id)
    return tf.constant(distributed.current().topology.rank, tf.int32, name=name)


def size_op(process_set_id: int = 0, name: str | None = None) -> tf.Tensor:
    """Returns the number of processes as a tensor: scalar, int32. Not collective.

    Arguments and errors as for `rank_op`.
    """
    _require_all_ranks("size", process_set_id)
    return tf.constant(distributed.current().topology.size, tf.int32, name=name)


def local_rank_op(name: str | None = None) -> tf.Tensor:
    """Returns the index of this process on its host: scalar, int32. Not collective."""
    return tf.constant(distributed.current().topology.local_rank, tf.int32, name=name)


def local_size_op(name: str | None = None) -> tf.Tensor:
    """Returns the number of processes on this host: scalar, int32. Not collective."""
    return tf.constant(distributed.current().topology.local_size, tf.int32, name=name)


def _require_all_ranks(what: str, process_set_id: int) -> None:
    if process_set_id != 0:
        raise ConfigError(
            f"{what}_op(process_set_id)",
            got=process_set_id,
            expected="0, the set of all ranks",
            fix=f"use tf.constant(process_set.{what}())",
        )
