"""Operations on pixel values, with a separate amount for each image, in integers."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.data.augment.fixed_point import per_image, to_pixels


def posterize(images: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Reduces the number of bits of every value.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        mask: Bit mask of the kept bits, `[batch]`, int32.

    Returns:
        Images of the same shape and dtype.
    """
    return tf.bitwise.bitwise_and(images, tf.cast(per_image(mask), tf.uint8))


def solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts all values at or above a threshold.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        threshold: `[batch]`, int32.

    Returns:
        Images of the same shape and dtype.
    """
    return tf.where(tf.cast(images, tf.int32) >= per_image(threshold), 255 - images, images)


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches every channel to 0 .. 255; constant channels are unchanged.

    Args:
        images: `[batch, height, width, channels]`, uint8.

    Returns:
        Images of the same shape and dtype.
    """
    values = tf.cast(images, tf.int32)
    least = tf.reduce_min(values, axis=[1, 2], keepdims=True)
    spread = tf.reduce_max(values, axis=[1, 2], keepdims=True) - least
    # One division of integers below 2**24: correctly rounded by any compiler.
    exact = tf.cast((values - least) * 255, tf.float32) / tf.cast(tf.maximum(spread, 1), tf.float32)
    return tf.where(spread > 0, to_pixels(tf.cast(tf.round(exact), tf.int32)), images)


def blur(images: tf.Tensor) -> tf.Tensor:
    """Averages each pixel with its 8 neighbours; the pixel itself has weight 5 of 13.

    Border pixels are unchanged (PIL's `SMOOTH` filter).

    Args:
        images: `[batch, height, width, channels]`, uint8.

    Returns:
        The same shape, int32, 0 to 255.
    """
    values = tf.cast(images, tf.int32)
    height, width = images.shape[1], images.shape[2]
    if min(height, width) < 3:
        return values
    middle = values[:, 1:-1, 1:-1]
    total = 4 * middle
    for row in range(3):
        for column in range(3):
            total += values[:, row : row + height - 2, column : column + width - 2]
    blurred = tf.pad((total + 6) // 13, [[0, 0], [1, 1], [1, 1], [0, 0]])
    y, x = tf.range(height)[:, tf.newaxis, tf.newaxis], tf.range(width)[:, tf.newaxis]
    inner = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    return tf.where(inner, blurred, values)


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Equalizes the histogram of every channel, as PIL does.

    With n the number of pixels below the largest value and `step = n // 255`, a value becomes
    `(number of pixels with smaller values + step // 2) // step`; if step is 0 it is unchanged.

    Args:
        images: `[batch, height, width, channels]`, uint8.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, channels = images.shape
    batch = tf.shape(images)[0]
    first = tf.reshape(tf.range(batch * channels) * 256, [batch, 1, 1, channels])
    index = tf.cast(images, tf.int32) + first
    counts = tf.math.bincount(tf.reshape(index, [-1]), minlength=batch * channels * 256)
    counts = tf.reshape(counts, [-1, 256])
    up_to = tf.cumsum(counts, axis=1)
    present = tf.where(counts > 0, tf.range(256), 0)
    of_largest = tf.gather(counts, tf.reduce_max(present, axis=1), axis=1, batch_dims=1)
    step = (height * width - of_largest[:, tf.newaxis]) // 255
    new = (up_to - counts + step // 2) // tf.maximum(step, 1)
    new = tf.where(step > 0, tf.minimum(new, 255), tf.range(256))
    return tf.gather(tf.reshape(tf.cast(new, tf.uint8), [-1]), index)
