"""Random changes of training images: pure functions of pixels, seed, epoch and example.

They work on whole batches; what happens to an example does not depend on the batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvd_imgcls.config.augmentations import Augmentation, RandomShift
from hvd_imgcls.data.random_numbers import uniform_integers
from hvd_imgcls.errors import ConfigError

# Images, example numbers and epoch in, images of the same shape and dtype out.
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

# Streams that one augmentation may use, so that no two share one.
_STREAMS_PER_PART = 16


def make_augment(
    parts: Sequence[Augmentation], *, seed: int, image_shape: tuple[int, int, int]
) -> Augment:
    """Returns all augmentations as one function.

    Args:
        parts: What to do, in order.
        seed: `train.seed`.
        image_shape: Height, width and channels.

    Raises:
        ConfigError: If an augmentation does not go with images of this size.
    """
    shifts = [_require_fit(index, part, image_shape) for index, part in enumerate(parts)]

    def augment(images: tf.Tensor, examples: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        for index, part in enumerate(shifts):
            images = random_shift(
                images,
                examples,
                max_pixels=part.max_pixels,
                seed=seed,
                epoch=epoch,
                first_stream=1 + index * _STREAMS_PER_PART,
            )
        return images

    return augment


def random_shift(
    images: tf.Tensor,
    examples: tf.Tensor,
    *,
    max_pixels: int,
    seed: int,
    epoch: tf.Tensor,
    first_stream: int,
) -> tf.Tensor:
    """Moves every image by whole pixels up or down, left or right; gaps are 0.

    Args:
        images: `[batch, height, width, channels]`, any dtype.
        examples: Their example numbers, `[batch]`, int64.
        max_pixels: Largest shift; all from minus to plus this are equally likely.
        seed: `train.seed`.
        epoch: 0-based, scalar, int64.
        first_stream: First of two streams of random numbers to use.

    Returns:
        Images of the same shape and dtype.
    """
    height, width = images.shape[1], images.shape[2]
    first_row, first_column = (
        uniform_integers(examples, seed=seed, epoch=epoch, stream=stream, upper=2 * max_pixels + 1)
        for stream in (first_stream, first_stream + 1)
    )
    border = [max_pixels, max_pixels]
    padded = tf.pad(images, [[0, 0], border, border, [0, 0]])
    rows = first_row[:, tf.newaxis] + tf.range(height, dtype=tf.int64)
    columns = first_column[:, tf.newaxis] + tf.range(width, dtype=tf.int64)
    shifted = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(shifted, columns, axis=2, batch_dims=1)


def _require_fit(index: int, part: Augmentation, image_shape: tuple[int, int, int]) -> RandomShift:
    height, width, _ = image_shape
    if not isinstance(part, RandomShift):
        raise ConfigError(
            f"augment.{index}.name",
            got=part.name,
            expected="to be the first augmentation, since it comes with decoding",
            fix="move it to the front",
        )
    if part.max_pixels >= min(height, width):
        raise ConfigError(
            f"augment.{index}.max_pixels",
            got=part.max_pixels,
            expected=f"less than the {height} x {width} pixels of an image",
            fix=f"use at most {max(1, min(height, width) // 4)}",
        )
    return part
