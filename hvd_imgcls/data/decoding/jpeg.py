"""Decodes a window of a JPEG, at a fraction of its size if that is enough."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from hvd_imgcls.data.decoding.exif import contains, jpeg_orientation
from hvd_imgcls.data.decoding.header_size import require_size
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.orientation import stored_window, upright_size
from hvd_imgcls.data.decoding.windows import Window

# The inverse transform of libjpeg and Pillow, to the bit. TensorFlow's default is up to 35 levels
# off at quality 100.
EXACT = "INTEGER_ACCURATE"
# How many pixels a window that is decoded at a fraction of its size must have for each pixel of
# the result, in both directions: 1.45. With 1, the result of detailed photographs of 300 to 4,000
# pixels is 34 dB from Pillow's of the fully decoded image, with 1.45 40 dB, with 2 46 dB, and
# 12 megapixels take 0.75, 0.75 and 0.84 of the time without antialiasing.
_MARGIN = 29, 20

# Takes height and width of an upright image, int32 `[2]`.
ChooseWindow = Callable[[tf.Tensor], Window]


def jpeg_shape(contents: tf.Tensor) -> tf.Tensor:
    """Returns height, width and stored channels of a JPEG, int32 `[3]`; zeros if it is none.

    Args:
        contents: Encoded image, scalar string.

    Raises:
        tf.errors.OpError: At run time, if the header is damaged.
    """
    return tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.io.extract_jpeg_shape(contents),
        lambda: tf.zeros([3], tf.int32),
    )


def is_usual_jpeg(contents: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Returns whether TensorFlow decodes a JPEG correctly, scalar bool; False if it is none.

    It takes all CMYK for inverted, which only Adobe's is.

    Args:
        contents: Encoded image, scalar string.
        shape: From `jpeg_shape`.
    """
    return tf.cond(shape[2] == 4, lambda: contains(contents, "Adobe"), lambda: shape[2] > 0)


def decode_jpeg_window(
    contents: tf.Tensor,
    shape: tf.Tensor,
    choose: ChooseWindow,
    min_side_of: Callable[[tf.Tensor], int | tf.Tensor],
    options: DecodingOptions,
) -> tuple[tf.Tensor, Window, tf.Tensor]:
    """Decodes a window of a JPEG.

    With antialiasing, it is decoded at the smallest scale of 1/8, 1/4, 1/2 and 1 that leaves enough
    pixels in the window.

    Args:
        contents: Encoded image, scalar string.
        shape: From `jpeg_shape`.
        choose: Chooses the window in the upright image.
        min_side_of: From height and width of the window, int32 `[2]`, to how many pixels its
            shorter side gets in the end.
        options: Defines the result.

    Returns:
        The decoded pixels as stored, `[height, width, channels]` uint8; the window in them,
        float32, which may begin between pixels; its EXIF orientation.

    Raises:
        tf.errors.OpError: At run time, if it cannot be decoded.
    """
    size = require_size(shape[:2], options.max_pixels)

    orientation = jpeg_orientation(contents) if options.is_upright else tf.constant(1)
    upright = upright_size(size, orientation)
    window = stored_window(choose(upright), upright, orientation)
    pixels, place = _decode(contents, window, shape[2], min_side_of, options)
    return pixels, place, orientation


def _decode(
    contents: tf.Tensor,
    window: Window,
    stored_channels: tf.Tensor,
    min_side_of: Callable[[tf.Tensor], int | tf.Tensor],
    options: DecodingOptions,
) -> tuple[tf.Tensor, Window]:
    """Decodes a window as stored; returns pixels that cover it, and where it is in them."""

    def crop(part: Window, ratio: int, channels: int) -> tf.Tensor:
        return tf.image.decode_and_crop_jpeg(
            contents,
            tf.concat(part, axis=0),
            channels=channels,
            ratio=ratio,
            dct_method="" if options.resize == "bilinear" else EXACT,
        )

    def decode(part: Window, ratio: int) -> tf.Tensor:
        if options.num_channels == 3:
            return crop(part, ratio, 3)
        # The decoder cannot convert four-channel (CMYK) images to greyscale.
        return tf.cond(
            stored_channels == 4,
            lambda: to_grey(crop(part, ratio, 3)),
            lambda: crop(part, ratio, 1),
        )

    def at_full_size() -> tuple[tf.Tensor, Window]:
        return decode(window, 1), Window(tf.zeros([2]), tf.cast(window.extent, tf.float32))

    def divided_by(ratio: int) -> tuple[tf.Tensor, Window]:
        first = window.first // ratio
        extent = -(-(window.first + window.extent) // ratio) - first
        exact = Window(*(tf.cast(part, tf.float32) / ratio for part in window))
        place = Window(exact.first - tf.cast(first, tf.float32), exact.extent)
        return decode(Window(first, extent), ratio), place

    if options.resize == "bilinear":
        return at_full_size()
    ratios = [2, 4, 8]
    numerator, denominator = _MARGIN
    enough = [numerator * min_side_of(window.extent) * ratio for ratio in ratios]
    is_enough = tf.reduce_min(window.extent) * denominator >= enough
    branches = [at_full_size, *(functools.partial(divided_by, ratio) for ratio in ratios)]
    pixels, place = tf.switch_case(tf.reduce_sum(tf.cast(is_enough, tf.int32)), branches)
    return pixels, Window(*place)


def to_grey(image: tf.Tensor) -> tf.Tensor:
    """Converts `[height, width, 3]` uint8 to `[height, width, 1]`, weighted as in JPEG."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    # ITU-R BT.601, in thousandths: integers are rounded the same everywhere.
    grey = (299 * red + 587 * green + 114 * blue + 500) // 1000
    return tf.cast(grey[..., tf.newaxis], tf.uint8)
