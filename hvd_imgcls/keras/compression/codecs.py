"""Numbers as bytes, in fewer than four."""

from __future__ import annotations

from abc import ABC, abstractmethod

import tensorflow as tf


class Codec(ABC):
    """Encodes float32 values in blocks.

    Attributes:
        block_size: Values per block.
        bytes_per_block: Bytes per block.
    """

    block_size: int
    bytes_per_block: int

    @abstractmethod
    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """Returns `[blocks, bytes_per_block]`, uint8.

        Args:
            values: `[blocks * block_size]`, float32.
        """

    @abstractmethod
    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Returns values `[blocks * block_size]`, float32, for the result of `encode`."""


class BFloat16Codec(Codec):
    """The upper half of a float32, rounded to nearest even."""

    block_size, bytes_per_block = 1, 2

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """See `Codec.encode`."""
        return tf.bitcast(tf.cast(values, tf.bfloat16), tf.uint8)

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """See `Codec.decode`."""
        return tf.cast(tf.bitcast(content, tf.bfloat16), tf.float32)


class Int8Codec(Codec):
    """Integers from -127 to 127, and for each block the size of one unit.

    Args:
        block_size: Values per block.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.bytes_per_block = block_size + 4

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """See `Codec.encode`. A block with NaN or infinity becomes NaN."""
        blocks = tf.reshape(values, [-1, self.block_size])
        unit = tf.reduce_max(tf.abs(blocks), axis=1, keepdims=True) / 127.0
        # Not every implementation of the maximum takes notice of NaN. A sum might overflow.
        is_finite = tf.reduce_all(tf.math.is_finite(blocks), axis=1, keepdims=True)
        unit = tf.where(is_finite, unit, float("nan"))
        integers = tf.round(tf.math.divide_no_nan(blocks, unit))
        # The quotient by a subnormal unit may be beyond the range.
        integers = tf.cast(tf.clip_by_value(integers, -127.0, 127.0), tf.int8)
        return tf.concat(
            [tf.bitcast(integers, tf.uint8), tf.bitcast(unit, tf.uint8)[:, 0, :]], axis=1
        )

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """See `Codec.decode`."""
        integers = tf.cast(tf.bitcast(content[:, : self.block_size], tf.int8), tf.float32)
        unit = tf.bitcast(content[:, self.block_size :], tf.float32)
        return tf.reshape(integers * unit[:, tf.newaxis], [-1])
