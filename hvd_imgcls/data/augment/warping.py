"""Affine warps of images, in fixed point.

A map is six int32 numbers a, b, c, d, e, f: the output pixel at column x and row y is the input
pixel at column `(a x + b y + c) / ONE` and row `(d x + e y + f) / ONE`. With coefficients up
to 2, images up to 8,192 pixels wide and high stay within 32 bits.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.data.augment.fixed_point import round_shift, to_pixels

_BITS = 15
ONE = 2**_BITS
"""One pixel: positions are exact to 1/32,768 of a pixel."""

# Bits of the bilinear interpolation weights.
_WEIGHT_BITS = 8

Map = npt.NDArray[np.int32]


def affine(
    coefficients: tuple[float, float, float, float], offset: tuple[float, float] = (0.0, 0.0)
) -> Map:
    """Returns a map in fixed point.

    Args:
        coefficients: a, b, d, e.
        offset: c and f in pixels.

    Returns:
        `[6]`, int32.
    """
    a, b, d, e = coefficients
    c, f = offset
    return np.array([round(value * ONE) for value in (a, b, c, d, e, f)], np.int32)


def rotation(angle: float, height: int, width: int) -> Map:
    """Returns the map of a rotation about the centre of an image.

    Args:
        angle: In radians; positive rotates the image counter-clockwise.
        height: Height of the image.
        width: Width of the image.

    Returns:
        `[6]`, int32.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    return affine((cos, -sin, sin, cos), (x - cos * x + sin * y, y - sin * x - cos * y))


def warp_nearest(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Warps images with nearest-neighbour interpolation; gaps are 0.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        maps: `[batch, 6]`, int32.

    Returns:
        Images of the same shape and dtype.
    """
    columns, rows = _positions(images, maps)
    rows, columns = (
        tf.bitwise.right_shift(position + ONE // 2, _BITS) for position in (rows, columns)
    )
    return gather_pixels(images, rows, columns)


def warp_bilinear(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Warps images with bilinear interpolation; gaps are 0.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        maps: `[batch, 6]`, int32.

    Returns:
        Images of the same shape and dtype. Weights are multiples of 1/256 in each direction.
    """
    columns, rows = (
        round_shift(position, _BITS - _WEIGHT_BITS) for position in _positions(images, maps)
    )
    top, left = (tf.bitwise.right_shift(position, _WEIGHT_BITS) for position in (rows, columns))
    down, right = (
        tf.bitwise.bitwise_and(position, 2**_WEIGHT_BITS - 1) for position in (rows, columns)
    )
    total = tf.zeros([1, 1, 1, 1], tf.int32)
    for row, row_weight in ((top, 2**_WEIGHT_BITS - down), (top + 1, down)):
        for column, column_weight in ((left, 2**_WEIGHT_BITS - right), (left + 1, right)):
            pixels = tf.cast(gather_pixels(images, row, column), tf.int32)
            total += pixels * (row_weight * column_weight)[..., tf.newaxis]
    return to_pixels(round_shift(total, 2 * _WEIGHT_BITS))


def gather_pixels(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns the pixels at rows and columns; pixels outside the image are 0.

    Args:
        images: `[batch, height, width, channels]`.
        rows: Int32, broadcasts with `columns` to `[batch, height, width]`.
        columns: Int32.

    Returns:
        `[batch, height, width, channels]`, the dtype of `images`.
    """
    _, height, width, channels = images.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = tf.clip_by_value(rows, 0, height - 1) * width
    index += tf.clip_by_value(columns, 0, width - 1)
    flat = tf.reshape(images, [-1, height * width, channels])
    found = tf.gather(flat, index, axis=1, batch_dims=1)
    return tf.where(inside[..., tf.newaxis], found, tf.zeros([], images.dtype))


def _positions(images: tf.Tensor, maps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the input column and row of each output pixel, in units of 1 / ONE."""
    x = tf.range(images.shape[2])[tf.newaxis, tf.newaxis, :]
    y = tf.range(images.shape[1])[tf.newaxis, :, tf.newaxis]
    a, b, c, d, e, f = (maps[:, i, tf.newaxis, tf.newaxis] for i in range(6))
    return a * x + b * y + c, d * x + e * y + f
