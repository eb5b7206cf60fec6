"""Calling Python from inside a graph, for what is done rarely.

A check that is due once in a hundred updates would, traced, add hundreds of operations
to every step: TensorFlow visits them even when their branch is not taken, and traces and
optimises them before the first step. One operation that calls Python costs next to
nothing until it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def call_python(
    function: Callable[..., Any], inputs: Sequence[tf.Tensor], dtype: tf.DType, shape: list[Any]
) -> tf.Tensor:
    """Calls `function(*inputs)`, which runs eagerly, now or when the graph gets there.

    The function must not communicate. Two of them can run at the same time and in another
    order on every rank, and eager operations of Horovod have no names to tell them apart.
    Nor may it read variables, which TensorFlow would not order with the writes to them:
    their values are inputs.

    Args:
        function: Takes eager tensors; returns what becomes one tensor.
        inputs: Tensors.
        dtype: Of the result.
        shape: Static shape of the result.

    Returns:
        The result. What the function raises is wrapped in a `tf.errors.OpError` inside a
        graph, and is raised as it is outside of one.
    """
    if tf.executing_eagerly():
        return tf.convert_to_tensor(function(*inputs), dtype)
    result = tf.py_function(function, list(inputs), dtype)
    result.set_shape(shape)
    return result


def run_if(condition: tf.Tensor, action: Callable[[], Any]) -> tf.Tensor:
    """Runs `action` if the condition holds.

    Args:
        condition: Scalar, bool.
        action: Adds operations, or does its work if there is no graph.

    Returns:
        What to depend on in order to come after it.
    """

    def run() -> tf.Tensor:
        action()
        return tf.constant(True)

    return tf.cond(condition, run, lambda: tf.constant(False))
