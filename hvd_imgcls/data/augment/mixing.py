"""Augmentations that mix an example with its neighbour: mixup and CutMix.

The partner of the example at position p of a batch is the one at p XOR 1. The result is thus
independent of how the global batch is divided, as long as every part of it is even.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.data.augment.batch import Parameters, Transform
from hvd_imgcls.data.augment.erasing import in_rectangle
from hvd_imgcls.data.augment.fixed_point import per_image, round_shift, to_pixels
from hvd_imgcls.data.randomness.random_numbers import to_events, to_integers

NUM_QUANTILES = 4096
"""Number of equally likely weights: quantiles of the beta distribution."""

# Weights of mixup are multiples of 2**-16, so that products with 8-bit pixels are exact.
_WEIGHT_BITS = 16


def make_mixup(section: Mixup, image_shape: tuple[int, int, int], key: str) -> Transform:
    """Returns a transform that blends pixels and targets: `weight * own + (1 - weight) * partner`.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del image_shape, key
    full = 2**_WEIGHT_BITS
    table = np.rint(beta_quantiles(section.alpha) * full).astype(np.int32)

    def draw(words: tf.Tensor) -> Parameters:
        weight = tf.gather(tf.constant(table), to_integers(words[1], NUM_QUANTILES))
        return (tf.where(to_events(words[0], section.probability), weight, full),)

    def blend(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        weight = per_image(parameters[0])
        own, other = tf.cast(images, tf.int32), tf.cast(partners(images), tf.int32)
        return to_pixels(round_shift(weight * own + (full - weight) * other, _WEIGHT_BITS))

    def blend_targets(targets: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return _blend_targets(targets, parameters[0], full)

    return Transform(
        num_words=2,
        draw=draw,
        change_images=blend,
        change_targets=blend_targets,
        mixes=True,
    )


def make_cutmix(section: Cutmix, image_shape: tuple[int, int, int], key: str) -> Transform:
    """Returns a transform that pastes a rectangle of the partner at the same position.

    Its sides are `height * sqrt(1 - weight)` and `width * sqrt(1 - weight)`, its centre is any
    pixel (equation 2 of the paper). The rectangle is clipped to the image, and targets are
    blended by the remaining pixels of each image.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.
    """
    del key
    height, width, _ = image_shape
    shares = np.sqrt(1 - beta_quantiles(section.alpha))
    sides = np.rint(shares[:, np.newaxis] * [height, width]).astype(np.int32)

    def draw(words: tf.Tensor) -> Parameters:
        which = to_integers(words[1], NUM_QUANTILES)
        chosen = to_events(words[0], section.probability)
        used = tf.where(chosen[:, tf.newaxis], tf.gather(tf.constant(sides), which), 0)
        top, bottom = _cut_off(used[:, 0], to_integers(words[2], height), height)
        left, right = _cut_off(used[:, 1], to_integers(words[3], width), width)
        return top, bottom, left, right

    def paste(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return tf.where(in_rectangle(parameters, height, width), partners(images), images)

    def blend_targets(targets: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        top, bottom, left, right = parameters
        pasted = (bottom - top) * (right - left)
        return _blend_targets(targets, height * width - pasted, height * width)

    return Transform(
        num_words=4,
        draw=draw,
        change_images=paste,
        change_targets=blend_targets,
        mixes=True,
    )


def beta_quantiles(alpha: float) -> npt.NDArray[np.float64]:
    """Returns the quantiles of Beta(alpha, alpha) at `(i + 1/2) / NUM_QUANTILES`.

    Args:
        alpha: Both parameters of the distribution.

    Returns:
        `[NUM_QUANTILES]`, ascending, within 0 to 1.
    """
    from scipy.special import betaincinv

    levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    return cast(npt.NDArray[np.float64], betaincinv(alpha, alpha, levels))


def partners(values: tf.Tensor) -> tf.Tensor:
    """Returns the value of the example at position p XOR 1, for every p.

    Args:
        values: `[batch, ...]` with an even batch size.

    Returns:
        The same shape and dtype.
    """
    pairs = tf.reshape(values, [-1, 2, *values.shape[1:]])
    return tf.reshape(tf.reverse(pairs, [1]), [-1, *values.shape[1:]])


def _cut_off(side: tf.Tensor, centre: tf.Tensor, length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns start and exclusive end of a side centred at a pixel, clipped to the image."""
    start = centre - side // 2
    return tf.maximum(start, 0), tf.minimum(start + side, length)


def _blend_targets(targets: tf.Tensor, own: tf.Tensor, whole: int) -> tf.Tensor:
    """Blends targets: `own / whole` of an example's own and the rest of its partner's.

    Not compiled: XLA may fuse a product and a sum, which rounds differently.
    """
    weight = (tf.cast(own, tf.float32) / whole)[:, tf.newaxis]
    return weight * targets + (1.0 - weight) * partners(targets)
