"""Integer rounding, so that results do not depend on how a compiler orders float operations."""

from __future__ import annotations

import tensorflow as tf


def round_shift(values: tf.Tensor, bits: int) -> tf.Tensor:
    """Divides by 2**bits, rounding half to even.

    Args:
        values: Any shape, int32, at most 2**31 - 2**(bits - 1); may be negative.
        bits: 1 to 30.

    Returns:
        The same shape, int32.
    """
    odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(values, bits), 1)
    return tf.bitwise.right_shift(values + (2 ** (bits - 1) - 1) + odd, bits)


def to_pixels(values: tf.Tensor) -> tf.Tensor:
    """Clips integers to 0 .. 255 and casts them to uint8."""
    return tf.cast(tf.clip_by_value(values, 0, 255), tf.uint8)


def per_image(values: tf.Tensor) -> tf.Tensor:
    """Reshapes `[batch]` to `[batch, 1, 1, 1]`, to broadcast against images."""
    return tf.reshape(values, [-1, 1, 1, 1])
