"""Sends rows from every rank to every rank, with a check that none of them is lost."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.failures import process_state
from hvd_imgcls.keras.communication.operations import as_tensor
from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.graph.host_callback import call_python


@without_autograph
def alltoall(
    value: Any,
    splits: Any = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Sends rows of axis 0 to the other ranks and returns those received. Collective.

    Args:
        value: Rows ordered by destination rank.
        splits: `[size]`, int32: number of rows for each rank; equal parts when None.
        name: Name of the operation.
        process_set: The participating ranks.

    Raises:
        ConfigError: On all ranks, if the splits of one of them are not all of its rows, or if its
            rows do not divide by the number of ranks. Inside a graph TensorFlow wraps it.

    Returns:
        The rows received; with `splits`, also the number of rows from each rank.
    """
    tensor = as_tensor(value)
    name = name or "alltoall"
    sent_splits, checked = _checked_splits(tensor, splits, name, process_set)
    with tf.control_dependencies([checked]):
        received, received_splits = distributed.current().alltoall(
            tf.identity(tensor), sent_splits, name=name, process_set=process_set
        )
    return received if splits is None else (received, received_splits)


def _checked_splits(
    tensor: tf.Tensor, splits: Any, name: str, process_set: ProcessSet
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the number of rows for each rank, and a tensor for control dependencies.

    Collective: every rank of the process set must call this. A rank that found its own mistake
    alone would leave the others waiting, so each of them sees the numbers of all.
    """
    members = process_set.size() or 1
    num_rows = tf.shape(tensor)[0]
    if splits is None:
        sent, divisor = tf.fill([members], num_rows // members), members
    else:
        sent, divisor = tf.reshape(tf.cast(as_tensor(splits), tf.int32), [-1]), 1
    facts = tf.stack([num_rows, divisor, tf.size(sent), tf.reduce_sum(sent), tf.reduce_min(sent)])
    # Through Python, because TensorFlow folds operations on constants of a graph.
    facts = call_python(lambda *row: row[0], [facts], tf.int32, [5])
    table = distributed.current().allgather(
        facts[tf.newaxis], name=f"{name}.rows", process_set=process_set
    )
    ranks = process_set.ranks or range(members)

    def check(rows_by_rank: tf.Tensor) -> bool:
        for rank, row in zip(ranks, rows_by_rank.numpy().tolist(), strict=True):
            problem = _problem_of_splits(row, members)
            if problem:
                got, expected = problem
                error = ConfigError(
                    f"alltoall on rank {rank}",
                    got=got,
                    expected=expected,
                    fix="pass splits: the number of rows for each rank, all rows together",
                )
                process_state.graph_error = error
                raise error
        return True

    return sent, call_python(check, [table], tf.bool, [])


def _problem_of_splits(row: list[int], members: int) -> tuple[str, str] | None:
    """Returns what came and what was expected; None if all rows have a destination."""
    num_rows, divisor, num_splits, total, least = row
    if num_rows % divisor:
        return f"{num_rows} rows without splits", f"a multiple of the {members} ranks"
    if num_splits != members:
        return f"{num_splits} splits", f"one for each of the {members} ranks"
    if least < 0:
        return f"a split of {least} rows", "numbers of rows"
    if total != num_rows:
        return f"splits of {total} rows for a value of {num_rows}", "a destination for every row"
    return None
