"""Keras and TensorFlow variables under one interface."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def native_variable(variable: Any) -> tf.Variable:
    """Returns the TensorFlow variable of a Keras or TensorFlow variable."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def variable_path(variable: Any) -> str:
    """Returns the name of a variable for messages, e.g. `sequential/dense/kernel`."""
    return str(getattr(variable, "path", None) or variable.name)


def num_elements(tensor: tf.Tensor) -> Any:
    """Returns the number of elements: an int, or a scalar tensor if the shape is not static."""
    known = tensor.shape.num_elements()
    return tf.size(tensor) if known is None else known
