"""GELU in a single pass over its inputs, on CPUs.

TensorFlow composes `keras.activations.gelu` from about ten operations, each of which passes over
the whole activation, in bfloat16 each time with casts to float32. XLA compiles them to one loop in
the forward pass, and one in the backward pass, which needs only the inputs.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

# Other dtypes, such as float64, use Keras's implementation.
_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


def gelu(x: Any, approximate: bool = False) -> Any:
    """Returns `x * P(X <= x)`, X standard normal (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    It is named like `keras.activations.gelu`, so that layers are saved with that name.

    Args:
        x: Any shape. float32, bfloat16 and float16 use a single pass; others use Keras's GELU.
        approximate: Whether to use the tanh approximation, Keras's implementation.
    """
    if approximate or not isinstance(x, tf.Tensor) or x.dtype not in _DTYPES:
        return keras.activations.gelu(x, approximate=approximate)
    return _one_pass(x)


@tf.custom_gradient
def _one_pass(inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _backward(inputs, upstream)

    return _forward(inputs), gradient


@tf.function(jit_compile=True, autograph=False)
def _forward(inputs: tf.Tensor) -> tf.Tensor:
    values = tf.cast(inputs, tf.float32)
    return tf.cast(values * _probability(values), inputs.dtype)


@tf.function(jit_compile=True, autograph=False)
def _backward(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    values = tf.cast(inputs, tf.float32)
    density = tf.exp(-0.5 * values * values) / math.sqrt(2.0 * math.pi)
    slope = _probability(values) + values * density
    return tf.cast(tf.cast(upstream, tf.float32) * slope, inputs.dtype)


def _probability(values: tf.Tensor) -> tf.Tensor:
    """Returns the standard normal distribution function."""
    return 0.5 * (1.0 + tf.math.erf(values * math.sqrt(0.5)))
