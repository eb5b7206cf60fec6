"""Names of operations inside graphs: the same on all ranks, each used once in a graph."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.control_flow_v2_func_graphs import ControlFlowFuncGraph

_used: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()


def unique_name(name: str) -> str:
    """Returns `name`, with a number if the graph being traced has used it before.

    Ranks trace the same operations in the same order, so they number alike; the names
    of layers and scopes, which depend on what else a rank has built, do not come in.
    Horovod refuses a second operation of the same name while the first is under way.

    The count is that of the innermost function, not of a branch or loop body in it: two
    branches of one step can run at the same time. A rank that traces its step once more, for
    a batch of another shape, gets the names that the other ranks got the first time.

    Args:
        name: Without scopes; "/" is replaced, since Horovod cuts names there.
    """
    name = name.replace("/", ".")
    if tf.executing_eagerly():
        return name
    graph = tf.compat.v1.get_default_graph()
    while isinstance(graph, ControlFlowFuncGraph):
        graph = graph.outer_graph
    counts = _used.setdefault(graph, Counter())
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}.{counts[name]}"
