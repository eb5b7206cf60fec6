"""GELU in one pass over its inputs on CPUs.

TensorFlow makes `keras.activations.gelu` of some ten operations, each of which passes over the
whole activation, in bfloat16 by way of float32 every time. XLA makes one loop of them forward,
and one backward that needs the inputs only.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

# Others, such as float64, take the plain way.
_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


def gelu(x: Any, approximate: bool = False) -> Any:
    """Returns `x * P(X <= x)`, X standard normal (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    It has the name of `keras.activations.gelu`, so that a layer is saved with that.

    Args:
        x: Any shape. In one pass are float32, bfloat16 and float16; anything else is Keras's.
        approximate: With tanh; Keras's.
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
