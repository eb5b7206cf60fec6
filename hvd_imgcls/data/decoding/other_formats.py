"""Decodes images other than the usual JPEG."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.data.decoding.exif import other_orientation
from hvd_imgcls.data.decoding.header_size import require_size, size_of_others, starts_with
from hvd_imgcls.data.decoding.jpeg import is_usual_jpeg, jpeg_shape
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.pillow import pillow_pixels

_HEADER_BYTES = 32
_WEBP_ANIMATION = 0x02


def decode_others(contents: tf.Tensor, options: DecodingOptions) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a whole image.

    TensorFlow decodes PNG, still WebP and the usual kind of BMP. Pillow decodes the others:
    TensorFlow (2.21.0) inverts the colours of CMYK JPEG without Adobe's marker, takes the palette
    indices of a BMP for grey values, ignores where the first image of a GIF lies, and writes out
    of bounds for an animated WebP.

    Args:
        contents: Encoded image, scalar string.
        options: Defines limits.

    Returns:
        `[height, width, 3]` uint8 as stored, and its EXIF orientation.

    Raises:
        tf.errors.OpError: At run time, with the reason.
    """
    header = _header_of(contents)

    def by_tensorflow() -> tuple[tf.Tensor, tf.Tensor]:
        size = require_size(size_of_others(contents, header), options.max_pixels)
        with tf.control_dependencies([size]):
            allowed = tf.identity(contents)
        orientation = other_orientation(contents) if options.is_upright else tf.constant(1)
        return _decode(allowed, header), orientation

    def by_pillow() -> tuple[tf.Tensor, tf.Tensor]:
        if options.is_portable:
            return _refuse(), tf.constant(1)
        pixels = pillow_pixels(contents, options.max_pixels, is_upright=options.is_upright)
        return pixels, tf.constant(1)

    pixels, orientation = tf.cond(_is_usual(contents, header), by_tensorflow, by_pillow)
    return tf.ensure_shape(pixels, [None, None, 3]), tf.ensure_shape(orientation, [])


def is_decoded_by_tensorflow(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether TensorFlow decodes an image, scalar bool, and not Pillow.

    Args:
        contents: Encoded image, scalar string.
    """
    is_jpeg = is_usual_jpeg(contents, jpeg_shape(contents))
    return is_jpeg | _is_usual(contents, _header_of(contents))


def _header_of(contents: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of a file, int64; zeros beyond its end."""
    header = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEADER_BYTES)
    return tf.cast(header, tf.int64)


def _is_usual(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Whether TensorFlow decodes the image correctly."""
    is_png = starts_with(contents, b"\x89PNG")
    is_webp = starts_with(contents, b"RIFF") & ~(
        (header[15] == ord("X")) & (header[20] // _WEBP_ANIMATION % 2 == 1)
    )
    return is_png | is_webp | (starts_with(contents, b"BM") & _is_usual_bmp(contents, header))


def _is_usual_bmp(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Whether a BMP has 24 bits per pixel, no compression, rows from the bottom, nothing else."""
    weights = tf.constant([256**place for place in range(4)], tf.int64)
    begin, header_size, width, height = (
        tf.reduce_sum(header[first : first + 4] * weights) for first in (10, 14, 18, 22)
    )
    row_bytes = (3 * width + 3) // 4 * 4
    ends = begin + row_bytes * height
    return (
        (header_size >= 40)
        & (header[28] == 24)
        & (header[30] == 0)
        & (width < 2**31)
        & (height < 2**31)
        & (ends == tf.cast(tf.strings.length(contents), tf.int64))
    )


def _decode(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG, WebP or BMP to three channels."""

    def of_png() -> tf.Tensor:
        return tf.cond(
            header[24] == 16,
            lambda: _scale_to_bytes(tf.io.decode_png(contents, channels=3, dtype=tf.uint16)),
            lambda: tf.io.decode_png(contents, channels=3),
        )

    def of_webp() -> tf.Tensor:
        # With transparency, it can only be decoded to four channels.
        return tf.io.decode_image(contents, channels=0, expand_animations=False)[..., :3]

    return tf.cond(
        starts_with(contents, b"\x89PNG"),
        of_png,
        lambda: tf.cond(
            starts_with(contents, b"RIFF"),
            of_webp,
            lambda: tf.io.decode_bmp(contents, channels=3),
        ),
    )


def _scale_to_bytes(values: tf.Tensor) -> tf.Tensor:
    """Scales 0 .. 65,535 to 0 .. 255, rounding to the nearest."""
    wide = tf.cast(values, tf.int32)
    return tf.cast(tf.bitwise.right_shift(wide * 255 + 32_895, 16), tf.uint8)


def _refuse() -> tf.Tensor:
    """Fails at run time."""
    reason = "an exported model reads JPEG, PNG, still WebP and 24-bit BMP only; convert it"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=[reason])]):
        return tf.zeros([1, 1, 3], tf.uint8)
