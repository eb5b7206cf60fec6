"""Reads the size of an image from its header, and rejects large images before decoding.

A file of a few kilobytes can claim to be an image of gigabytes. Inside a graph, an image
that is too large raises `tf.errors.InvalidArgumentError`, like any image that cannot be decoded.
"""

from __future__ import annotations

import re

import tensorflow as tf

_TOO_LARGE = "too large"


def require_size(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Returns the size of an image, or fails if it is too large.

    Args:
        size: Height and width, int `[2]`; 0 if unknown.
        max_pixels: Maximum number of pixels.

    Raises:
        tf.errors.InvalidArgumentError: At run time, with the size and the limit.
    """
    # The product of two 32-bit sizes need not fit into 64 bits.
    num_pixels = tf.reduce_prod(tf.cast(size, tf.float64))
    # `plain_reason` formats the message: formatting it here would cost 5 us per image, a
    # `tf.cond` as much.
    checked = tf.raw_ops.Assert(
        condition=num_pixels <= max_pixels, data=[_TOO_LARGE, size[1], size[0], max_pixels]
    )
    with tf.control_dependencies([checked] if checked is not None else []):
        return tf.identity(size)


def plain_reason(text: str) -> str:
    """Formats the message of a failed size check, and removes misleading parts of others.

    Args:
        text: First line of TensorFlow's message.
    """
    number = r" \[(\d+)\]"
    numbers = re.fullmatch(rf"assertion failed: \[{_TOO_LARGE}\]" + 3 * number, text)
    if numbers is not None:
        width, height, allowed = numbers.groups()
        return f"{width} x {height} pixels, more than the {int(allowed):,} allowed"
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", text)


def size_of_others(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Returns height and width from the header of a PNG, BMP or WebP, int64 `[2]`, else zeros.

    Args:
        contents: Encoded image, scalar string.
        header: Its first 32 bytes, int64.
    """

    def number(first: int, length: int) -> tf.Tensor:
        """Decodes a little-endian integer."""
        weights = tf.constant([256**place for place in range(length)], tf.int64)
        return tf.reduce_sum(header[first : first + length] * weights)

    def of_png() -> tf.Tensor:
        weights = tf.constant([256**place for place in (3, 2, 1, 0)], tf.int64)
        return tf.stack(
            [tf.reduce_sum(header[20:24] * weights), tf.reduce_sum(header[16:20] * weights)]
        )

    def of_bmp() -> tf.Tensor:
        # Signed: top-down images have a negative height.
        sides = tf.stack([number(22, 4), number(18, 4)])
        return tf.where(sides >= 2**31, 2**32 - sides, sides)

    def of_webp() -> tf.Tensor:
        bits = number(21, 4)
        lossless = tf.stack([bits // 2**14 % 2**14, bits % 2**14]) + 1
        lossy = tf.stack([number(28, 2), number(26, 2)]) % 2**14
        extended = tf.stack([number(27, 3), number(24, 3)]) + 1
        kind = header[15]  # the last letter of VP8X, VP8L or "VP8 "
        return tf.where(kind == ord("X"), extended, tf.where(kind == ord("L"), lossless, lossy))

    return tf.cond(
        starts_with(contents, b"\x89PNG"),
        of_png,
        lambda: tf.cond(
            starts_with(contents, b"RIFF"),
            of_webp,
            lambda: tf.cond(starts_with(contents, b"BM"), of_bmp, lambda: tf.zeros([2], tf.int64)),
        ),
    )


def starts_with(contents: tf.Tensor, start: bytes) -> tf.Tensor:
    """Whether a file begins with these bytes."""
    return tf.strings.substr(contents, 0, len(start)) == start
