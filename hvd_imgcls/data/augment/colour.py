"""Augmentations of colour, in integers: colour jitter and random greyscale."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from hvd_imgcls.config.augmentations import ColourJitter, RandomGreyscale
from hvd_imgcls.data.augment.batch import Parameters, Transform, compiled
from hvd_imgcls.data.augment.fixed_point import per_image, round_shift, to_pixels
from hvd_imgcls.data.randomness.random_numbers import to_events, to_integers
from hvd_imgcls.errors import ConfigError

_FACTOR_BITS = 12
FACTOR_ONE = 2**_FACTOR_BITS
"""The neutral factor: factors are multiples of 1/4,096."""

_SHADE_BITS = 4
SHADE_ONE = 2**_SHADE_BITS
"""One grey level, where fractions matter: shades are multiples of 1/16."""

_TURN = 6 * FACTOR_ONE
"""The whole colour circle: six sectors of 4,096 steps."""

# The changes of colour jitter; only the first two are possible for greyscale images.
CHANGES = ("brightness", "contrast", "saturation", "hue")

# The weights 0.299, 0.587 and 0.114 of ITU-R BT.601 in units of 2**-16; their sum is 2**16.
_GREY_BITS = 16
_GREY_WEIGHTS = (19595, 38470, 7471)


def make_colour_jitter(
    section: ColourJitter, image_shape: tuple[int, int, int], key: str
) -> Transform:
    """Returns a transform that changes brightness, contrast, saturation and hue in random order.

    Each change is rounded to uint8. All orders of those that have a strength are equally likely, as
    in torchvision's `ColorJitter`.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.

    Raises:
        ConfigError: If saturation or hue is set and the images are greyscale.
    """
    for name in ("saturation", "hue"):
        if getattr(section, name) and image_shape[-1] != 3:
            _refuse_colour(f"{key}.{name}", getattr(section, name), image_shape, fix="use 0")

    active = [kind for kind, name in enumerate(CHANGES) if getattr(section, name)]
    orders = np.array(list(itertools.permutations(active)), np.int32)

    def draw(words: tf.Tensor) -> Parameters:
        chosen = to_events(words[0], section.probability)
        strengths = (section.brightness, section.contrast, section.saturation)
        factors = [_draw_factor(words[1 + i], strength) for i, strength in enumerate(strengths)]
        largest = round(section.hue * _TURN)
        shift = to_integers(words[4], 2 * largest + 1) - largest
        return (
            *(tf.where(chosen, factor, FACTOR_ONE) for factor in factors),
            tf.where(chosen, shift, 0),
            tf.gather(tf.constant(orders), to_integers(words[5], len(orders))),
        )

    def jitter(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        *amounts, order = parameters
        for place in range(len(active)):
            kinds = order[:, place]
            amount = tf.gather(tf.stack(amounts, axis=1), kinds, batch_dims=1)
            images = _compiled_change(images, kinds, amount)
        return images

    return Transform(num_words=6, draw=draw, change_images=jitter, compile_as_whole=False)


def make_random_greyscale(
    section: RandomGreyscale, image_shape: tuple[int, int, int], key: str
) -> Transform:
    """Returns a transform that replaces all channels with the grey value.

    Args:
        section: Its configuration.
        image_shape: Height, width and channels.
        key: Configuration key of the section.

    Raises:
        ConfigError: If the images are already greyscale.
    """
    if image_shape[-1] != 3:
        _refuse_colour(f"{key}.name", section.name, image_shape, fix="remove it")

    def draw(words: tf.Tensor) -> Parameters:
        return (to_events(words[0], section.probability),)

    def lose_colour(images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return tf.where(per_image(parameters[0]), to_pixels(grey(images)), images)

    return Transform(num_words=1, draw=draw, change_images=lose_colour)


def change_colours(images: tf.Tensor, kinds: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Applies to each image one of `CHANGES`.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        kinds: Indices into `CHANGES`, `[batch]`, int32.
        amounts: Factors in units of 1 / `FACTOR_ONE`, or shifts of the hue, `[batch]`, int32.

    Returns:
        Images of the same shape and dtype.
    """

    def change(one: Parameters) -> tf.Tensor:
        image, kind, amount = (value[tf.newaxis] for value in one)
        branches = [
            lambda: blend(image, tf.constant(0), amount),
            lambda: blend(image, mean_grey(image), amount),
            lambda: blend(image, grey(image) * SHADE_ONE, amount),
            lambda: shift_hue(image, amount),
        ]
        possible = branches if image.shape[-1] == 3 else branches[:2]
        return tf.switch_case(kind[0], possible)[0]

    return tf.map_fn(change, (images, kinds, amounts), fn_output_signature=tf.uint8)


def blend(images: tf.Tensor, other: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns `factor * images + (1 - factor) * other`; extrapolates for factors above 1.

    Args:
        images: `[batch, height, width, channels]`, uint8.
        other: In units of 1 / `SHADE_ONE`, int32, broadcasts to `images`.
        factor: In units of 1 / `FACTOR_ONE`, `[batch]`, int32, 0 to 9.

    Returns:
        The shape of `images`, uint8.
    """
    own = tf.cast(images, tf.int32) * SHADE_ONE
    blended = other * FACTOR_ONE + per_image(factor) * (own - other)
    return to_pixels(round_shift(blended, _FACTOR_BITS + _SHADE_BITS))


def grey(images: tf.Tensor) -> tf.Tensor:
    """Returns the grey value of every pixel (ITU-R BT.601), rounded.

    Args:
        images: `[batch, height, width, channels]`, uint8, 1 or 3 channels.

    Returns:
        `[batch, height, width, 1]`, int32, 0 to 255.
    """
    values = tf.cast(images, tf.int32)
    if images.shape[-1] == 1:
        return values
    weighted = [values[..., i : i + 1] * weight for i, weight in enumerate(_GREY_WEIGHTS)]
    return round_shift(tf.add_n(weighted), _GREY_BITS)


def mean_grey(images: tf.Tensor) -> tf.Tensor:
    """Returns the mean grey value of every image, rounded to a multiple of 1 / `SHADE_ONE`.

    Args:
        images: `[batch, height, width, channels]`, uint8.

    Returns:
        `[batch, 1, 1, 1]`, int32, in units of 1 / `SHADE_ONE`.
    """
    num_pixels = images.shape[1] * images.shape[2]
    total = tf.cast(tf.reduce_sum(grey(images), axis=[1, 2, 3], keepdims=True), tf.int64)
    return tf.cast((total * SHADE_ONE + num_pixels // 2) // num_pixels, tf.int32)


def shift_hue(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shifts the hue of images along the colour circle, in HSV.

    A pixel with hue h (in sectors), value v (the largest channel) and chroma c (largest minus
    least) has the channels `v - c * clip(min(k, 4 - k), 0, 1)` with `k = (n + h) mod 6`, n = 5,
    3, 1 for red, green, blue.

    Args:
        images: `[batch, height, width, 3]`, uint8.
        shift: `[batch]`, int32, in units of 1/24,576 of the circle, at most half of it.

    Returns:
        The same shape, uint8.
    """
    red, green, blue = (tf.cast(images[..., i], tf.int32) for i in range(3))
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    # Position of the hue within its sector; without chroma all three differences are 0.
    sector, difference = (
        tf.where(value == red, of_red, tf.where(value == green, of_green, of_blue))
        for of_red, of_green, of_blue in ((0, 2, 4), (green - blue, blue - red, red - green))
    )
    # One division of integers below 2**24: correctly rounded by any compiler.
    scaled = tf.cast(difference * FACTOR_ONE, tf.float32)
    within = tf.cast(tf.round(scaled / tf.cast(tf.maximum(chroma, 1), tf.float32)), tf.int32)
    hue = sector * FACTOR_ONE + within + shift[:, tf.newaxis, tf.newaxis]
    k = _within_turn(hue[..., tf.newaxis] + tf.constant([5, 3, 1]) * FACTOR_ONE)
    share = tf.clip_by_value(tf.minimum(k, 4 * FACTOR_ONE - k), 0, FACTOR_ONE)
    lost = round_shift(chroma[..., tf.newaxis] * share, _FACTOR_BITS)
    return to_pixels(value[..., tf.newaxis] - lost)


def _within_turn(hue: tf.Tensor) -> tf.Tensor:
    """Returns hues between minus one and three turns modulo one turn, without a division."""
    hue = tf.where(hue < 0, hue + _TURN, hue)
    for _ in range(2):
        hue = tf.where(hue >= _TURN, hue - _TURN, hue)
    return hue


def _draw_factor(words: tf.Tensor, strength: float) -> tf.Tensor:
    """Returns factors from max(0, 1 - strength) to 1 + strength, `[batch]`, int32."""
    least = round(max(0.0, 1.0 - strength) * FACTOR_ONE)
    largest = round((1.0 + strength) * FACTOR_ONE)
    return to_integers(words, largest - least + 1) + least


def _refuse_colour(key: str, got: object, image_shape: tuple[int, int, int], *, fix: str) -> None:
    raise ConfigError(
        key, got=got, expected=f"images with 3 channels, not {image_shape[-1]}", fix=fix
    )


# One change at a time, image by image: one function for all changes took 48 s to compile, and this
# one 0.6 s (64 images of 224 x 224; CONTRIBUTING.md, decisions).
_compiled_change = compiled(change_colours)
