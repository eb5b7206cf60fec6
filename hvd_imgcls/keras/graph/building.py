"""Builds models and optimizers before their first batch, eagerly, the same on all ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import SetupError
from hvd_imgcls.keras.graph.variables import native_variable


def before_first_step(model: keras.Model, action: Callable[[], None]) -> None:
    """Builds a model, and calls `action`, just before `fit` takes its first step.

    A model without a declared input shape gets its variables while its first step is
    traced, and their values only when that step runs: too late to broadcast them. Only the
    step function of `fit` receives the data, and so the shape.

    Args:
        model: A compiled model, inside `fit`, after its step function was created.
        action: Called once, eagerly, after the model is built.
    """
    plain_function = model.train_function

    def function(iterator: Any) -> Any:
        model.train_function = plain_function
        build_for(model, iterator.element_spec)
        action()
        return plain_function(iterator)

    model.train_function = function


def is_built(model: keras.Model) -> bool:
    """Whether all of a model's variables exist.

    A model without its own `call`, such as a GAN with a custom `train_step`, never becomes
    `built`; it counts as built if all its parts are.
    """
    parts = list(model._flatten_layers(include_self=False))
    return bool(model.built or (parts and all(part.built for part in parts)))


def build_for(model: keras.Model, element_spec: Any) -> None:
    """Creates a model's variables, eagerly, from the shapes and dtypes of its data.

    Args:
        model: A compiled model.
        element_spec: Nested `tf.TensorSpec` of a batch, as `fit` sees it.

    Raises:
        SetupError: If the model cannot be traced without data.
    """
    try:
        batch = tf.nest.map_structure(
            lambda spec: keras.KerasTensor(spec.shape.as_list(), spec.dtype.name), element_spec
        )
        model._symbolic_build(data_batch=batch)
    # TensorFlow raises ValueError: the data have no static shape.
    except (RuntimeError, ValueError) as error:
        raise SetupError(
            f"the model {model.name} has no variables yet and cannot be built from the shape of "
            f"its data: {error}",
            fix="build it before fit(): declare keras.Input, or call it once on a batch",
        ) from error


def create_optimizer_variables(optimizer: Any, variables: Sequence[Any]) -> None:
    """Creates the optimizer's variables, eagerly even while a graph is being traced.

    `keras.optimizers.Optimizer.apply` would build inside the graph, where the initial
    values that ScheduleFreeAdamW takes from the weights are re-evaluated at every step
    (observed in Keras 3.15.1).
    """
    if optimizer.built:
        return
    with contextlib.ExitStack() as stack:
        # Variables of a model that is built by its first batch have no values yet.
        if all(_has_value(variable) for variable in variables):
            stack.enter_context(tf.init_scope())
        stack.enter_context(keras.name_scope(optimizer.name, caller=optimizer))
        optimizer.build(list(variables))
    optimizer.built = True


def _has_value(variable: Any) -> bool:
    with tf.init_scope():
        return bool(native_variable(variable).is_initialized())
