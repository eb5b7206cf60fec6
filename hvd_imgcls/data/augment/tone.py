"""Operations on the values of pixels, each image by its own amount, in integers."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.data.augment.fixed_point import per_image, to_pixels


def posterize(images: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns images with some bits of every value dropped.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        mask: The bits kept, `[batch]`, int32.

    Returns:
        Images of the same shape and dtype.
    """
    return tf.bitwise.bitwise_and(images, tf.cast(per_image(mask), tf.uint8))


def solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Returns images with values inverted that are not below a threshold.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        threshold: `[batch]`, int32.

    Returns:
        Images of the same shape and dtype.
    """
    return tf.where(tf.cast(images, tf.int32) >= per_image(threshold), 255 - images, images)


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Returns images with every channel stretched to 0 .. 255, those of one value unchanged.

    Args:
        images: `[batch, height, width, channels]`, uint8.

    Returns:
        Images of the same shape and dtype.
    """
    values = tf.cast(images, tf.int32)
    least = tf.reduce_min(values, axis=[1, 2], keepdims=True)
    spread = tf.reduce_max(values, axis=[1, 2], keepdims=True) - least
    # One division of whole numbers below 2**24: correctly rounded whatever compiles it.
    exact = tf.cast((values - least) * 255, tf.float32) / tf.cast(tf.maximum(spread, 1), tf.float32)
    return tf.where(spread > 0, to_pixels(tf.cast(tf.round(exact), tf.int32)), images)


def blur(images: tf.Tensor) -> tf.Tensor:
    """Returns each pixel averaged with its 8 neighbours, itself with weight 5 of 13.

    Pixels at the border stay as they are (PIL's `SMOOTH` filter).

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
    """Returns images with the histogram of every channel made even, as PIL does it.

    With n the number of pixels without those of the largest value and `step = n // 255`, a
    value becomes `(pixels of smaller values + step // 2) // step`; if step is 0 it stays.

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
