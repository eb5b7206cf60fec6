"""Names of operations inside graphs: the same on all ranks, each used once in a graph."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import tensorflow as tf

_used: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()


def unique_name(name: str) -> str:
    """Returns `name`, with a number if the graph being traced has used it before.

    Ranks trace the same operations in the same order, so they number alike; the names
    of layers and scopes, which depend on what else a rank has built, do not come in.
    Horovod refuses a second operation of the same name while the first is under way.

    Args:
        name: Without scopes; "/" is replaced, since Horovod cuts names there.
    """
    name = name.replace("/", ".")
    if tf.executing_eagerly():
        return name
    counts = _used.setdefault(_outermost_graph(), Counter())
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}.{counts[name]}"


def _outermost_graph() -> Any:
    graph = tf.compat.v1.get_default_graph()
    while getattr(graph, "outer_graph", None) is not None and graph.outer_graph.building_function:
        graph = graph.outer_graph
    return graph
