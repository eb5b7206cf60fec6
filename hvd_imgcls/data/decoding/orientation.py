"""Turns images upright, and windows of upright images to where they are stored.

Orientations are those of EXIF: 1 upright, 2 mirrored, 3 upside down, 4 upside down and mirrored,
6 and 8 lying on a side, 5 and 7 lying on a side and mirrored.
"""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.data.decoding.windows import Window

_FIRST_LYING = 5  # from here on, rows are stored as columns
_ROWS_REVERSED = (3, 4, 7, 8)
_COLUMNS_REVERSED = (2, 3, 6, 7)


def upright_size(size: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns height and width of the upright image, int32 `[2]`.

    Args:
        size: Height and width as stored, int32 `[2]`.
        orientation: 1 to 8, scalar int32.
    """
    return tf.where(orientation >= _FIRST_LYING, size[::-1], size)


def stored_window(window: Window, size: tf.Tensor, orientation: tf.Tensor) -> Window:
    """Returns where a window of the upright image is stored.

    Args:
        window: The window.
        size: Height and width of the upright image, int32 `[2]`.
        orientation: 1 to 8, scalar int32.
    """
    first = tf.where(_is_reversed(orientation), size - window.first - window.extent, window.first)
    is_lying = orientation >= _FIRST_LYING
    return Window(*(tf.where(is_lying, part[::-1], part) for part in (first, window.extent)))


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image upright.

    Args:
        image: As stored, `[height, width, channels]`.
        orientation: 1 to 8, scalar int32.
    """

    def turned() -> tf.Tensor:
        transposed = tf.cond(
            orientation >= _FIRST_LYING, lambda: tf.transpose(image, [1, 0, 2]), lambda: image
        )
        return tf.reverse(transposed, tf.boolean_mask([0, 1], _is_reversed(orientation)))

    return tf.cond(orientation == 1, lambda: image, turned)


def _is_reversed(orientation: tf.Tensor) -> tf.Tensor:
    """Returns whether rows and columns of the upright image are stored in reverse, bool `[2]`."""
    return tf.stack(
        [tf.reduce_any(orientation == of) for of in (_ROWS_REVERSED, _COLUMNS_REVERSED)]
    )
