"""Small batches, and augmentations applied to them."""

import contextlib
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from hvd_imgcls.data.augment import Batch, make_augment


def random_batch(num, height=9, width=12, channels=3, *, first=100, epoch=2):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (num, height, width, channels)).astype(np.uint8)
    return batch_of(images, first=first, epoch=epoch)


def batch_of(images, *, first=100, epoch=2):
    num = len(images)
    return Batch(
        images=tf.constant(images),
        targets=tf.one_hot(np.arange(num) % 5, 5),
        examples=tf.range(first, first + num, dtype=tf.int64),
        epoch=tf.constant(epoch, tf.int64),
    )


def part_of(batch, first, last):
    return dataclasses.replace(
        batch,
        images=batch.images[first:last],
        targets=batch.targets[first:last],
        examples=batch.examples[first:last],
    )


# Kept, so that one shape is compiled once.
cached_augment = functools.lru_cache(make_augment)


@contextlib.contextmanager
def uncompiled():
    """Runs what is called in it operation by operation."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def augmented(batch, *parts, seed=1):
    """Returns images and targets."""
    changed = cached_augment(parts, seed=seed, image_shape=tuple(batch.images.shape[1:]))(batch)
    return changed.images.numpy(), changed.targets.numpy()


def augmented_images(batch, *parts, seed=1):
    return augmented(batch, *parts, seed=seed)[0]
