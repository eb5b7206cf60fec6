"""Decodes image files: a window for the network, or the whole image."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvd_imgcls.data.decoding.exif import jpeg_orientation
from hvd_imgcls.data.decoding.header_size import require_size
from hvd_imgcls.data.decoding.jpeg import (
    EXACT,
    ChooseWindow,
    decode_jpeg_window,
    is_usual_jpeg,
    jpeg_shape,
    to_grey,
)
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.orientation import stored_window, turn_upright, upright_size
from hvd_imgcls.data.decoding.other_formats import decode_others
from hvd_imgcls.data.decoding.resampling import resize
from hvd_imgcls.data.decoding.windows import Window, whole_window


def decode_window(
    contents: tf.Tensor, choose: ChooseWindow, image_size: int, options: DecodingOptions
) -> tf.Tensor:
    """Decodes a window of an image and resizes it to a square.

    Args:
        contents: Encoded image, scalar string.
        choose: Chooses the window.
        image_size: Height and width of the result, in pixels.
        options: How images are decoded.

    Returns:
        `[image_size, image_size, num_channels]`, uint8, upright.

    Raises:
        tf.errors.OpError: At run time, if it cannot be decoded.
    """
    pixels, window, orientation = _decode(contents, choose, lambda _: image_size, options)
    shape = image_size, image_size, options.num_channels
    resized = resize(pixels, shape[:2], options.resize, window)
    # Turned last, when it is small.
    return tf.ensure_shape(turn_upright(resized, orientation), shape)


def decode_shrunk(contents: tf.Tensor, max_side: int, options: DecodingOptions) -> tf.Tensor:
    """Decodes a whole image and shrinks it to a longer side of `max_side`, if it is larger.

    Args:
        contents: Encoded image, scalar string.
        max_side: Longer side of the result, in pixels.
        options: How images are decoded.

    Returns:
        `[height, width, num_channels]`, uint8, upright.

    Raises:
        tf.errors.OpError: At run time, if it cannot be decoded.
    """
    pixels, window, orientation = _decode(
        contents,
        whole_window,
        lambda extent: tf.reduce_min(_shrunk_size(extent, max_side)),
        options,
    )
    size = _shrunk_size(window.extent, max_side)
    return turn_upright(resize(pixels, size, options.resize, window), orientation)


def shrink(image: tf.Tensor, max_side: int) -> tf.Tensor:
    """Shrinks an image with antialiasing to a longer side of `max_side`, if it is larger.

    Args:
        image: `[height, width, channels]`, uint8.
        max_side: In pixels.
    """
    extent = tf.cast(tf.shape(image)[:2], tf.float32)
    size = _shrunk_size(extent, max_side)
    return resize(image, size, "antialias", Window(tf.zeros([2]), extent))


def _shrunk_size(extent: tf.Tensor, max_side: int) -> tf.Tensor:
    """Returns height and width with the same aspect ratio and at most `max_side`, int32 `[2]`."""
    exact = tf.cast(extent, tf.float64)
    scale = tf.minimum(max_side / tf.reduce_max(exact), 1.0)
    return tf.maximum(tf.cast(tf.round(exact * scale), tf.int32), 1)


def decode_whole(contents: tf.Tensor, options: DecodingOptions) -> tf.Tensor:
    """Decodes a whole image.

    Args:
        contents: Encoded image, scalar string.
        options: How images are decoded.

    Returns:
        `[height, width, 3]`, uint8, upright.

    Raises:
        tf.errors.OpError: At run time, if it cannot be decoded.
    """
    shape = jpeg_shape(contents)

    def of_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        size = require_size(shape[:2], options.max_pixels)
        orientation = jpeg_orientation(contents) if options.is_upright else tf.constant(1)
        with tf.control_dependencies([size]):
            return tf.io.decode_jpeg(contents, channels=3, dct_method=EXACT), orientation

    pixels, orientation = tf.cond(
        is_usual_jpeg(contents, shape), of_jpeg, lambda: decode_others(contents, options)
    )
    return turn_upright(pixels, orientation)


def _decode(
    contents: tf.Tensor,
    choose: ChooseWindow,
    min_side_of: Callable[[tf.Tensor], int | tf.Tensor],
    options: DecodingOptions,
) -> tuple[tf.Tensor, Window, tf.Tensor]:
    """Decodes a window; see `decode_jpeg_window`."""

    def of_others() -> tuple[tf.Tensor, Window, tf.Tensor]:
        image, orientation = decode_others(contents, options)
        size = upright_size(tf.shape(image)[:2], orientation)
        window = stored_window(choose(size), size, orientation)
        first, extent = window
        cut = tf.slice(image, tf.concat([first, [0]], 0), tf.concat([extent, [3]], 0))
        pixels = cut if options.num_channels == 3 else to_grey(cut)
        return pixels, Window(tf.zeros([2]), tf.cast(extent, tf.float32)), orientation

    shape = jpeg_shape(contents)
    pixels, window, orientation = tf.cond(
        is_usual_jpeg(contents, shape),
        lambda: decode_jpeg_window(contents, shape, choose, min_side_of, options),
        of_others,
    )
    pixels = tf.ensure_shape(pixels, [None, None, options.num_channels])
    return pixels, Window(*window), orientation
