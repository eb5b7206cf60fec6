"""Chooses the window of an image that the network receives."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.randomness.random_numbers import words_of_example

# As in torchvision: after so many attempts that do not fit, a central window is used.
_ATTEMPTS = 10
# Aspect ratios come from a table with 2**14 values.
_RATIO_BITS = 14
_WORD_BITS = 32


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        first: First row and column, `[2]`.
        extent: Height and width, `[2]`.
    """

    first: tf.Tensor
    extent: tf.Tensor


def whole_window(size: tf.Tensor) -> Window:
    """Returns the whole image as a window.

    Args:
        size: Height and width, int32 `[2]`.
    """
    return Window(tf.zeros_like(size), size)


def centre_window(size: tf.Tensor, crop_fraction: float) -> Window:
    """Returns the centre square whose side is a fraction of the image's shorter side.

    Args:
        size: Height and width, int32 `[2]`.
        crop_fraction: Above 0, at most 1.
    """
    shorter = tf.cast(tf.reduce_min(size), tf.float32)
    side = tf.maximum(tf.cast(tf.round(shorter * crop_fraction), tf.int32), 1)
    return Window((size - side) // 2, tf.fill([2], side))


def random_window(
    size: tf.Tensor, config: RandomResizedCrop, key: tf.Tensor, example: tf.Tensor
) -> Window:
    """Returns a window of random area and aspect ratio.

    The rule of Szegedy et al. 2014 (arXiv:1409.4842, section 6) as in torchvision's
    `RandomResizedCrop`: the area is uniform, and so is the logarithm of the aspect ratio. If the
    window does not fit, both are drawn again, up to ten times; then the largest central window
    with the nearest aspect ratio is used. All places are equally likely.

    The result is the same on every machine: integers, a table, and operations on floating-point
    numbers that IEEE 754 rounds exactly.

    Args:
        size: Height and width, int32 `[2]`.
        config: Ranges of the area, as a fraction of the image, and of width / height.
        key: Of the epoch, from `crop_key`, scalar int64.
        example: Number of the example, scalar int64.
    """
    words = words_of_example(key, example, 2 * _ATTEMPTS + 2)
    areas, ratios, places = tf.split(words, [_ATTEMPTS, _ATTEMPTS, 2])
    smallest, largest = (round(limit * 2**31) for limit in config.area)
    fractions = tf.bitwise.right_shift(areas * (largest - smallest), _WORD_BITS) + smallest
    index = tf.bitwise.right_shift(ratios, _WORD_BITS - _RATIO_BITS)
    shapes = tf.gather(_sides_of_unit_area(config.aspect_ratio), index)
    area = tf.reduce_prod(tf.cast(size, tf.float64)) * 2.0**-31
    sides = tf.sqrt(area * tf.cast(fractions, tf.float64))
    extents = tf.cast(tf.round(sides[:, tf.newaxis] * shapes), tf.int32)
    fits = tf.reduce_all((extents > 0) & (extents <= size), axis=1)
    first_fit = tf.argmax(fits)

    def drawn() -> Window:
        extent = tf.gather(extents, first_fit)
        num_places = tf.cast(size - extent + 1, tf.int64)
        first = tf.bitwise.right_shift(places * num_places, _WORD_BITS)
        return Window(tf.cast(first, tf.int32), extent)

    def central() -> Window:
        extent = _nearest_extent(size, config.aspect_ratio)
        return Window((size - extent) // 2, extent)

    return Window(*tf.cond(tf.gather(fits, first_fit), drawn, central))


@functools.cache
def _sides_of_unit_area(aspect_ratio: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Returns height and width of windows of area 1, `[2**_RATIO_BITS, 2]`.

    The logarithms of width / height are evenly spaced. The sides are rounded to multiples of
    2**-30, because the last bit of an exponential may differ between machines.
    """
    low, high = (math.log(ratio) for ratio in aspect_ratio)
    number = 2**_RATIO_BITS
    halves = [(low + (i + 0.5) * (high - low) / number) / 2 for i in range(number)]
    sides = [(math.exp(-half), math.exp(half)) for half in halves]
    return np.round(np.array(sides) * 2**30) / 2**30


def _nearest_extent(size: tf.Tensor, aspect_ratio: tuple[float, float]) -> tf.Tensor:
    """Returns height and width of the largest window whose aspect ratio is in range."""
    lowest, highest = aspect_ratio
    height, width = tf.unstack(tf.cast(size, tf.float64))
    # Narrow images lose rows, wide ones lose columns.
    most = tf.stack([tf.round(width / lowest), tf.round(height * highest)])
    return tf.maximum(tf.minimum(size, tf.cast(most, tf.int32)), 1)
