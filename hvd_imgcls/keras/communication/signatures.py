"""Compares what the ranks are about to send, one tensor after the other, before they send it.

A rank that sends fewer tensors than another, or other ones, would leave the others waiting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.distributed.agreement import describe_differences, find_differences
from hvd_imgcls.errors import RankMismatchError
from hvd_imgcls.failures import process_state
from hvd_imgcls.keras.graph.host_callback import call_python
from hvd_imgcls.keras.graph.variables import native_variable, variable_path

FIX = "build the same model and optimizer on every rank, or load the same file, before this call"


def signature(variable: Any) -> str:
    """Returns dtype and shape of a Keras or TensorFlow variable or tensor, for messages."""
    native = native_variable(variable)
    dtype = getattr(native.dtype, "name", native.dtype)
    shape = tf.TensorShape(native.shape)
    return f"{dtype}{'[...]' if shape.rank is None else shape.as_list()}"


def require_same_signatures(
    variables: Sequence[Any],
    facts: Mapping[str, Any],
    process_set: ProcessSet = global_process_set,
    fix: str = FIX,
) -> tf.Tensor:
    """Compares number, dtypes and shapes of variables across ranks, eagerly or inside a graph.

    Names are shown but not compared: Keras numbers them by what else a process has built.
    Collective: every rank of the process set must call this.

    Args:
        variables: What will be sent, in this order.
        facts: Other JSON values that must be equal, such as the class of the optimizer.
        process_set: The participating ranks.
        fix: What the user should do about a difference, as an imperative.

    Returns:
        A tensor for control dependencies.

    Raises:
        RankMismatchError: On all ranks, with the differences. Inside a graph TensorFlow
            wraps it.
    """
    entries = [[variable_path(v).rsplit("/", 1)[-1], signature(v)] for v in variables]
    payload = np.frombuffer(json.dumps([dict(facts), entries]).encode(), np.uint8)
    ranks = distributed.current()
    # From Python, because TensorFlow folds operations on constants while it optimises a graph.
    sent = call_python(lambda: payload, [], tf.uint8, [len(payload)])
    joined = ranks.allgather(sent, name="signatures", process_set=process_set)
    lengths = ranks.allgather(tf.shape(sent), name="signatures.lengths", process_set=process_set)

    def compare(texts: tf.Tensor, ends: tf.Tensor) -> bool:
        parts = np.split(texts.numpy(), np.cumsum(ends.numpy())[:-1])
        by_rank = [json.loads(part.tobytes()) for part in parts]
        differences = find_differences(_named(by_rank), process_set.ranks or range(len(by_rank)))
        if differences:
            process_state.graph_error = RankMismatchError(describe_differences(differences, fix))
            raise process_state.graph_error
        return True

    return call_python(compare, [joined, lengths], tf.bool, [])


def _named(by_rank: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the entries of every rank under the names that the first rank with them has."""
    names: dict[int, str] = {}
    for _, entries in by_rank:
        for index, (name, _) in enumerate(entries):
            names.setdefault(index, name)
    return [
        {
            **facts,
            "number of variables": len(entries),
            "variable": {
                f"{index} {names[index]}": text for index, (_, text) in enumerate(entries)
            },
        }
        for facts, entries in by_rank
    ]
