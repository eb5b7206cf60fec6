"""Decodes image files to the images that the network receives.

A window of the image is cropped and resized. For JPEG, only the window is decoded.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding.image_size import decode_no_jpeg, require_size

# Takes height and width of an image, int32 `[2]`; returns the window's first row and column
# and its height and width, int32 `[4]`.
ChooseWindow = Callable[[tf.Tensor], tf.Tensor]

# Attempts before the whole image is used, as in torchvision's RandomResizedCrop.
_MAX_ATTEMPTS = 10


def decode_window(
    contents: tf.Tensor,
    choose: ChooseWindow,
    *,
    image_size: int,
    num_channels: int,
    max_pixels: int,
) -> tf.Tensor:
    """Decodes a window of an image and resizes it, bilinearly and without antialiasing.

    Args:
        contents: Encoded image, scalar string: JPEG, PNG, GIF (its first image), BMP or WebP.
        choose: Chooses the window.
        image_size: Height and width of the result, in pixels.
        num_channels: 1 or 3.
        max_pixels: Larger images are rejected by their header.

    Returns:
        `[image_size, image_size, num_channels]`, uint8.
    """

    def of_jpeg() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(contents)
        window = choose(require_size(shape[:2], max_pixels))

        def crop(channels: int) -> tf.Tensor:
            return tf.image.decode_and_crop_jpeg(contents, window, channels=channels)

        if num_channels == 3:
            return crop(3)
        # The decoder cannot convert four-channel (CMYK) images to greyscale.
        return tf.cond(shape[2] == 4, lambda: _to_grey(crop(3)), lambda: crop(1))

    def of_others() -> tf.Tensor:
        image = decode_no_jpeg(contents, max_pixels)
        window = choose(tf.shape(image)[:2])
        cut = tf.slice(image, [window[0], window[1], 0], [window[2], window[3], 3])
        # Among the other formats, only PNG can be decoded to greyscale.
        return cut if num_channels == 3 else _to_grey(cut)

    window = tf.cond(tf.io.is_jpeg(contents), of_jpeg, of_others)
    window = tf.ensure_shape(window, [None, None, num_channels])
    resized = tf.raw_ops.ResizeBilinear(
        images=window[tf.newaxis], size=[image_size, image_size], half_pixel_centers=True
    )
    pixels = tf.cast(tf.round(resized[0]), tf.uint8)
    return tf.ensure_shape(pixels, [image_size, image_size, num_channels])


def _to_grey(image: tf.Tensor) -> tf.Tensor:
    """Converts `[height, width, 3]` uint8 to `[height, width, 1]`, weighted as in JPEG."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    # ITU-R BT.601, in thousandths: integers are rounded the same everywhere.
    grey = (299 * red + 587 * green + 114 * blue + 500) // 1000
    return tf.cast(grey[..., tf.newaxis], tf.uint8)


def centre_window(size: tf.Tensor, crop_fraction: float) -> tf.Tensor:
    """Returns the centre square whose side is a fraction of the image's shorter side.

    Args:
        size: Height and width, int32 `[2]`.
        crop_fraction: Above 0, at most 1.
    """
    shorter = tf.cast(tf.reduce_min(size), tf.float32)
    side = tf.maximum(tf.cast(tf.round(shorter * crop_fraction), tf.int32), 1)
    first = (size - side) // 2
    return tf.stack([first[0], first[1], side, side])


def random_window(size: tf.Tensor, config: RandomResizedCrop, key: tf.Tensor) -> tf.Tensor:
    """Returns a window of random area and aspect ratio (Szegedy et al. 2014, arXiv:1409.4842).

    Args:
        size: Height and width, int32 `[2]`.
        config: Ranges of the area, as a fraction of the image, and of width / height.
        key: Two int64 numbers that are used for nothing else.
    """
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([size, [3]], axis=0),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=config.aspect_ratio,
        area_range=config.area,
        max_attempts=_MAX_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], axis=0)
