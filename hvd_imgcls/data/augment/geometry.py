"""Augmentations that move pixels: random crop, flip and rotation."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from hvd_imgcls.config.augmentations import RandomCrop, RandomFlip, RandomRotation
from hvd_imgcls.data.augment.batch import Parameters, Transform
from hvd_imgcls.data.augment.warping import gather_pixels, rotation, warp_bilinear
from hvd_imgcls.data.randomness.random_numbers import to_events, to_integers
from hvd_imgcls.errors import ConfigError

# Number of angles for a random rotation, evenly spaced from minus to plus the largest.
NUM_ANGLES = 4097


def make_random_crop(section: RandomCrop, image_shape: tuple[int, int, int], key: str) -> Transform:
    """Returns a transform that pads and crops by indexing, without padding in memory.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.

    Raises:
        ConfigError: If the padding is as large as the image.
    """
    height, width, _ = image_shape
    padding = section.padding
    if padding >= min(height, width):
        raise ConfigError(
            f"{key}.padding",
            got=padding,
            expected=f"less than the {height} x {width} pixels of an image",
            fix=f"use at most {max(1, min(height, width) // 4)}",
        )

    def draw(words: tf.Tensor) -> Parameters:
        return tuple(to_integers(words[i], 2 * padding + 1) - padding for i in range(2))

    def crop(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        rows, columns = (
            first[:, tf.newaxis] + tf.range(length)
            for first, length in zip(parameters, (height, width), strict=True)
        )
        if section.padding_mode == "reflect":
            rows, columns = _reflect(rows, height), _reflect(columns, width)
        return gather_pixels(images, rows[:, :, tf.newaxis], columns[:, tf.newaxis, :])

    return Transform(num_words=2, draw=draw, change_images=crop)


def make_random_flip(section: RandomFlip, image_shape: tuple[int, int, int], key: str) -> Transform:
    """Returns a transform that flips images horizontally or vertically.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del image_shape, key
    axis = 1 if section.vertical else 2

    def draw(words: tf.Tensor) -> Parameters:
        return (to_events(words[0], section.probability),)

    def flip(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        (chosen,) = parameters
        return tf.where(chosen[:, None, None, None], tf.reverse(images, [axis]), images)

    def turn_over(parameters: Parameters, is_even: tf.Tensor) -> Parameters:
        (chosen,) = parameters
        return (tf.math.logical_xor(chosen, is_even),)

    return Transform(
        num_words=1,
        draw=draw,
        change_images=flip,
        alternate=turn_over if section.alternating else None,
    )


def make_random_rotation(
    section: RandomRotation, image_shape: tuple[int, int, int], key: str
) -> Transform:
    """Returns a transform that rotates about the centre by one of `NUM_ANGLES` angles, bilinear.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del key
    height, width, _ = image_shape
    angles = np.linspace(-section.degrees, section.degrees, NUM_ANGLES) * (math.pi / 180)
    table = np.stack([rotation(float(angle), height, width) for angle in angles])
    unrotated = NUM_ANGLES // 2

    def draw(words: tf.Tensor) -> Parameters:
        chosen = to_events(words[0], section.probability)
        angle = tf.where(chosen, to_integers(words[1], NUM_ANGLES), unrotated)
        return (tf.gather(tf.constant(table), angle),)

    def rotate(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return warp_bilinear(images, parameters[0])

    return Transform(num_words=2, draw=draw, change_images=rotate)


def _reflect(index: tf.Tensor, length: int) -> tf.Tensor:
    """Reflects indices outside `0 .. length - 1` at the first and last index."""
    index = tf.abs(index)
    return (length - 1) - tf.abs((length - 1) - index)
