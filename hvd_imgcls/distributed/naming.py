"""Names of operations inside graphs: the same on all ranks, unique within a graph."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.control_flow_v2_func_graphs import ControlFlowFuncGraph

_used: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()


def unique_name(name: str) -> str:
    """Returns `name`, with a number appended if the graph being traced has used it before.

    Ranks trace the same operations in the same order, so they assign equal numbers; names
    of layers and scopes, which depend on other models that a rank has built, are not used.
    Horovod rejects a second operation with the same name while the first is pending.

    Names are counted per innermost function, not per branch or loop body: two branches of one
    step can run at the same time. A rank that retraces its step, for a batch of another
    shape, gets the names that the other ranks got the first time.

    Args:
        name: Without scopes; "/" is replaced, since Horovod truncates names there.
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
