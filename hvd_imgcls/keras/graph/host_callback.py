"""Calls Python from inside a graph, for rare actions.

Traced, a check that is due once in a hundred updates would add hundreds of operations
to every step: TensorFlow visits them even if their branch is not taken, and traces and
optimises them before the first step. A single operation that calls Python costs almost
nothing until it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def call_python(
    function: Callable[..., Any], inputs: Sequence[tf.Tensor], dtype: tf.DType, shape: list[Any]
) -> tf.Tensor:
    """Calls `function(*inputs)` eagerly, now or when the graph is executed.

    The function must not communicate: two such functions can run concurrently and in a
    different order on every rank, and Horovod's eager operations have no names to distinguish
    them. It must not read variables either, because TensorFlow would not order the reads with
    writes: their values are inputs.

    Args:
        function: Takes eager tensors; returns a value that is converted to one tensor.
        inputs: Tensors.
        dtype: Dtype of the result.
        shape: Static shape of the result.

    Returns:
        The result. Exceptions of the function are wrapped in a `tf.errors.OpError` inside a
        graph, and raised unchanged outside of one.
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
        action: Adds operations, or runs directly if there is no graph.

    Returns:
        A tensor for control dependencies.
    """

    def run() -> tf.Tensor:
        action()
        return tf.constant(True)

    return tf.cond(condition, run, lambda: tf.constant(False))
