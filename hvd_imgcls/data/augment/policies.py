"""RandAugment and TrivialAugment: every example draws operations of its own.

All operations but `equalize` are a few integer operations per pixel, and a whole batch goes
through all of them, compiled, with numbers that make the ones not drawn the identity. That is
faster than picking out the examples of each operation, which XLA cannot compile. `equalize`
needs a histogram: it works on the examples that drew it, not compiled.
"""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.config.augmentations import RandAugment, TrivialAugment
from hvd_imgcls.data.augment.batch import Parameters, Step, compiled
from hvd_imgcls.data.augment.colour import SHADE_ONE, blend, grey, mean_grey
from hvd_imgcls.data.augment.fixed_point import per_image, to_pixels
from hvd_imgcls.data.augment.operations import (
    NUM_BINS,
    OTHERS,
    Ranges,
    Row,
    operation_rows,
    rand_augment_ranges,
    table_of,
    trivial_augment_ranges,
)
from hvd_imgcls.data.augment.warping import warp_nearest
from hvd_imgcls.data.random_numbers import to_integers


def make_rand_augment(section: RandAugment, image_shape: tuple[int, int, int], key: str) -> Step:
    """Returns `num_ops` operations of one strength.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del key
    height, width, _ = image_shape
    rows = _all_rows(rand_augment_ranges(height, width), [section.magnitude], image_shape)
    return _policy(rows, section.num_ops)


def make_trivial_augment(
    section: TrivialAugment, image_shape: tuple[int, int, int], key: str
) -> Step:
    """Returns one operation of any strength.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del section, key
    return _policy(_all_rows(trivial_augment_ranges(), list(range(NUM_BINS)), image_shape), 1)


def apply_operations(images: tf.Tensor, maps: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Returns images changed each by its own operation.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        maps: `[batch, 6]`, int32, of `operations.table_of`.
        numbers: `[batch, 6]`, int32, of `operations.table_of`.

    Returns:
        Images of the same shape and dtype.
    """
    images = _compiled_warp(images, maps)
    images = _compiled_change(images, numbers)
    return _equalize_some(images, numbers[:, 5] > 0)


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


def _all_rows(ranges: Ranges, strengths: list[int], image_shape: tuple[int, int, int]) -> list[Row]:
    """Returns all equally likely rows."""
    height, width, _ = image_shape
    by_strength = [
        operation_rows(ranges, strength, height=height, width=width) for strength in strengths
    ]
    return [row for table in by_strength for pair in table.values() for row in pair]


def _policy(rows: list[Row], num_ops: int) -> Step:
    """Returns applying that many rows, each drawn anew."""
    maps, numbers = table_of(rows)

    def draw(words: tf.Tensor) -> Parameters:
        drawn = [to_integers(words[i], len(rows)) for i in range(num_ops)]
        tables = tf.constant(maps), tf.constant(numbers)
        return tuple(tf.gather(table, which) for which in drawn for table in tables)

    def apply(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        for i in range(num_ops):
            images = apply_operations(images, *parameters[2 * i : 2 * i + 2])
        return images

    return Step(num_words=num_ops, draw=draw, change_images=apply, compilable=False)


def _change_values(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Blends, posterizes, solarizes and stretches; nothing of it moves pixels."""
    other, factor, kept_bits, threshold, stretch = (numbers[:, i] for i in range(5))
    others = [tf.constant(0), mean_grey(images), grey(images) * SHADE_ONE, blur(images) * SHADE_ONE]
    chosen = tf.zeros([], tf.int32)
    for i in range(1, len(OTHERS)):
        chosen = tf.where(per_image(other) == i, others[i], chosen)
    values = tf.cast(blend(images, chosen, factor), tf.int32)
    values = tf.bitwise.bitwise_and(values, per_image(kept_bits))
    values = tf.where(values >= per_image(threshold), 255 - values, values)
    return to_pixels(tf.where(per_image(stretch) > 0, _stretch(images), values))


def _stretch(images: tf.Tensor) -> tf.Tensor:
    """Returns each channel stretched to 0 .. 255, those of one value unchanged, int32."""
    values = tf.cast(images, tf.int32)
    least = tf.reduce_min(values, axis=[1, 2], keepdims=True)
    spread = tf.reduce_max(values, axis=[1, 2], keepdims=True) - least
    # One division of whole numbers: correctly rounded whatever compiles it.
    exact = tf.cast((values - least) * 255, tf.float32) / tf.cast(tf.maximum(spread, 1), tf.float32)
    return tf.where(spread > 0, tf.cast(tf.round(exact), tf.int32), values)


def _equalize_some(images: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Equalizes the images chosen, `[batch]`, bool, and copies the others."""
    places = tf.where(chosen)
    changed = equalize(tf.gather(images, places[:, 0]))
    return tf.tensor_scatter_nd_update(images, places, changed)


# Once for all operations of a policy, so that they are compiled once.
_compiled_warp = compiled(warp_nearest)
_compiled_change = compiled(_change_values)
