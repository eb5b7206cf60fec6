"""Augmentations that erase a rectangle: random erasing and cutout."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvd_imgcls.config.augmentations import Cutout, RandomErasing
from hvd_imgcls.data.augment.batch import Parameters, Transform
from hvd_imgcls.data.randomness.random_numbers import to_bytes, to_events, to_integers
from hvd_imgcls.errors import ConfigError

# Number of areas and aspect ratios for random erasing, evenly spaced in their ranges.
NUM_QUANTILES = 4096

# Rectangles tried until one fits, as in torchvision; if none does, the image is unchanged.
NUM_ATTEMPTS = 10


def make_random_erasing(
    section: RandomErasing, image_shape: tuple[int, int, int], key: str
) -> Transform:
    """Returns a transform that erases a rectangle of random area, aspect ratio and position.

    Height and width are `round(sqrt(area * ratio))` and `round(sqrt(area / ratio))`, each
    smaller than the image's, as in torchvision's `RandomErasing.get_params`.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del key
    height, width, channels = image_shape
    quantiles = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    least, largest = section.area
    roots = np.sqrt(height * width * (least + (largest - least) * quantiles)).astype(np.float32)
    low, high = np.log(section.aspect_ratio)
    ratios = np.exp((low + (high - low) * quantiles) / 2).astype(np.float32)

    def draw(words: tf.Tensor) -> Parameters:
        root = tf.gather(
            tf.constant(roots), to_integers(words[4 : 4 + NUM_ATTEMPTS], NUM_QUANTILES)
        )
        which = to_integers(words[4 + NUM_ATTEMPTS :], NUM_QUANTILES)
        tall = tf.cast(tf.round(root * tf.gather(tf.constant(ratios), which)), tf.int32)
        wide = tf.cast(tf.round(root * tf.gather(tf.constant(1 / ratios), which)), tf.int32)
        fits = (tall < height) & (wide < width)
        first = tf.argmax(fits, axis=0, output_type=tf.int32)
        tall, wide = (_choose(sides, first) for sides in (tall, wide))
        chosen = to_events(words[0], section.probability) & tf.reduce_any(fits, axis=0)
        tall = tf.where(chosen, tall, 0)
        top = to_integers(words[1], tf.maximum(height - tall, 0) + 1)
        left = to_integers(words[2], tf.maximum(width - wide, 0) + 1)
        return top, top + tall, left, left + wide, words[3]

    def erase(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        *rectangle, word = parameters
        inside = in_rectangle(tuple(rectangle), height, width)
        if section.value == "zero":
            return tf.where(inside, tf.zeros([], tf.uint8), images)
        noise = to_bytes(word, height * width * channels)
        return tf.where(inside, tf.reshape(noise, [-1, *image_shape]), images)

    return Transform(num_words=4 + 2 * NUM_ATTEMPTS, draw=draw, change_images=erase)


def make_cutout(section: Cutout, image_shape: tuple[int, int, int], key: str) -> Transform:
    """Returns a transform that sets a square around a random pixel to zero.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.

    Raises:
        ConfigError: If the square is larger than the image.
    """
    height, width, _ = image_shape
    size = section.size
    if size > min(height, width):
        raise ConfigError(
            f"{key}.size",
            got=size,
            expected=f"at most the {height} x {width} pixels of an image",
            fix=f"use {max(1, min(height, width) // 2)}, half of it",
        )

    def draw(words: tf.Tensor) -> Parameters:
        used = tf.where(to_events(words[0], section.probability), size, 0)
        top = to_integers(words[1], height) - size // 2
        left = to_integers(words[2], width) - size // 2
        return top, top + used, left, left + used

    def cut_out(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return tf.where(in_rectangle(parameters, height, width), tf.zeros([], tf.uint8), images)

    return Transform(num_words=3, draw=draw, change_images=cut_out)


def in_rectangle(rectangle: Parameters, height: int, width: int) -> tf.Tensor:
    """Returns a mask of the pixels inside a rectangle.

    Args:
        rectangle: Top, bottom, left and right, `[batch]` each, int32; bottom and right are
            exclusive.
        height: Height of the images.
        width: Width of the images.

    Returns:
        `[batch, height, width, 1]`, bool.
    """
    top, bottom, left, right = (side[:, tf.newaxis] for side in rectangle)
    y, x = tf.range(height), tf.range(width)
    rows = (y >= top) & (y < bottom)
    columns = (x >= left) & (x < right)
    return (rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :])[..., tf.newaxis]


def _choose(sides: tf.Tensor, attempt: tf.Tensor) -> tf.Tensor:
    """Returns `sides[attempt[i], i]` of `[attempts, batch]`."""
    return tf.gather(tf.transpose(sides), attempt, axis=1, batch_dims=1)
