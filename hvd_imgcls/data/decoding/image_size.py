"""Reads the size of an image from its header, and rejects large images before decoding.

A file of a few kilobytes can claim to be an image of gigabytes. Inside a graph, an image
that is too large raises `tf.errors.InvalidArgumentError`, like any image that cannot be decoded.
"""

from __future__ import annotations

import re
import struct

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# All formats but GIF store the size in the first bytes of a file.
_HEADER_BYTES = 32
_GIF_COLOUR_TABLE, _GIF_COLOURS = 0x80, 0x07
_WEBP_ANIMATION = 0x02
_TOO_LARGE = "too large"

# TensorFlow decodes it, but its size is in a bit stream that is not parsed here.
JPEG_XL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")


def require_size(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Returns the size of an image, or fails if it is too large.

    Args:
        size: Height and width, int `[2]`; 0 if unknown.
        max_pixels: Maximum number of pixels.

    Raises:
        tf.errors.InvalidArgumentError: At run time, with the size and the limit.
    """
    # The product of two 32-bit sizes need not fit into 64 bits.
    height, width = tf.unstack(tf.cast(size, tf.float64))
    # `plain_reason` formats the message: formatting it here would cost 5 us per image, a
    # `tf.cond` as much.
    checked = tf.raw_ops.Assert(
        condition=height * width <= max_pixels, data=[_TOO_LARGE, size[1], size[0], max_pixels]
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
    # TensorFlow's list of formats includes one that we reject.
    text = text.replace("One of JPEG, JPEG XL, ", "One of JPEG, ")
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", text)


def decode_no_jpeg(contents: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes an image that is not a JPEG, unless its header claims that it is too large.

    Args:
        contents: Encoded image, scalar string: PNG, GIF (its first image), BMP or WebP.
        max_pixels: Maximum number of pixels. The images of a GIF, which are all unpacked to one
            byte per pixel, may have three times as many in total.

    Returns:
        `[height, width, 3]`, uint8.

    Raises:
        tf.errors.OpError: At run time, with the reason.
    """

    def decode(channels: int) -> tf.Tensor:
        return tf.io.decode_image(allowed, channels=channels, expand_animations=False)

    with tf.control_dependencies([_allowed_size(contents, max_pixels)]):
        allowed = tf.identity(contents)
    # WebP with transparency can only be decoded to four channels.
    return tf.cond(_starts_with(contents, b"RIFF"), lambda: decode(0)[..., :3], lambda: decode(3))


def _allowed_size(contents: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Returns height and width of an image that is not a JPEG; fails if it is too large."""

    def of_gif() -> tf.Tensor:
        facts = tf.numpy_function(_gif_size, [contents], tf.int64)
        facts = tf.ensure_shape(facts, [3])
        fits = facts[2] <= 3 * max_pixels
        size = require_size(facts[:2], max_pixels)
        checked = tf.cond(fits, lambda: tf.constant(True), lambda: refuse_gif(facts[2]))
        with tf.control_dependencies([checked]):
            return tf.identity(size)

    def refuse_gif(total: tf.Tensor) -> tf.Tensor:
        problem = tf.strings.format("{} pixels in all images of a GIF", total)
        return _refuse(problem + f", more than the {3 * max_pixels:,} allowed")

    def of_others() -> tf.Tensor:
        # Pads files that are shorter than the header.
        header = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEADER_BYTES)
        header = tf.cast(header, tf.int64)
        checked = _require_supported(contents, header)
        with tf.control_dependencies([checked]):
            return require_size(_size_of_others(contents, header), max_pixels)

    return tf.cond(_starts_with(contents, b"GIF8"), of_gif, of_others)


def decode_whole(contents: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes a whole image.

    Args:
        contents: Encoded image, scalar string: JPEG, PNG, GIF (its first image), BMP or WebP.
        max_pixels: Larger images are rejected by their header.

    Returns:
        `[height, width, 3]`, uint8.

    Raises:
        tf.errors.OpError: If it cannot be decoded.
    """

    def of_jpeg() -> tf.Tensor:
        size = require_size(tf.io.extract_jpeg_shape(contents)[:2], max_pixels)
        with tf.control_dependencies([size]):
            return tf.io.decode_jpeg(tf.identity(contents), channels=3)

    return tf.cond(tf.io.is_jpeg(contents), of_jpeg, lambda: decode_no_jpeg(contents, max_pixels))


def _refuse(reason: tf.Tensor | str) -> tf.Tensor:
    """Fails at run time; returns a scalar bool, for control flow."""
    with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=[reason])]):
        return tf.constant(False)


def _starts_with(contents: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.strings.substr(contents, 0, len(start)) == start


def _require_supported(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Fails at run time for content that the decoder must not get; returns a scalar bool.

    TensorFlow 2.21.0 writes out of bounds when it decodes an animated WebP to four channels as
    a single image.
    """
    is_jpeg_xl = tf.reduce_any([_starts_with(contents, start) for start in JPEG_XL_STARTS])
    is_webp = _starts_with(contents, b"RIFF") & (header[15] == ord("X"))
    is_animated = is_webp & (header[20] // _WEBP_ANIMATION % 2 == 1)
    name = tf.where(is_jpeg_xl, "JPEG XL", "animated WebP")
    return tf.cond(
        is_jpeg_xl | is_animated,
        lambda: _refuse(name + ", which is not supported; convert it"),
        lambda: tf.constant(True),
    )


def _size_of_others(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Returns height and width from the header of a PNG, BMP or WebP, int64 `[2]`, else zeros."""

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
        _starts_with(contents, b"\x89PNG"),
        of_png,
        lambda: tf.cond(
            _starts_with(contents, b"RIFF"),
            of_webp,
            lambda: tf.cond(_starts_with(contents, b"BM"), of_bmp, lambda: tf.zeros([2], tf.int64)),
        ),
    )


def _gif_size(contents: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Returns the largest height and width in a GIF, and the total pixels of its images.

    Its images may exceed the size in the file header, so all of them are scanned. Damaged files
    are left to the decoder.
    """
    content: bytes = np.asarray(contents, np.object_).item()
    height = width = total = 0
    try:
        width, height, flags = struct.unpack_from("<HHB", content, 6)
        place = 13 + _colour_table_bytes(flags)
        while content[place] != ord(";"):
            if content[place] == ord(","):
                own_width, own_height, flags = struct.unpack_from("<HHB", content, place + 5)
                height, width = max(height, own_height), max(width, own_width)
                total += own_height * own_width
                place += 11 + _colour_table_bytes(flags)
            else:
                place += 2
            while content[place]:
                place += 1 + content[place]
            place += 1
    except (IndexError, struct.error):
        pass
    return np.array([height, width, total], np.int64)


def _colour_table_bytes(flags: int) -> int:
    return 3 * 2 ** (1 + (flags & _GIF_COLOURS)) if flags & _GIF_COLOUR_TABLE else 0
