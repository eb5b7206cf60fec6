import colorsys

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.augmentations import ColourJitter, RandomGreyscale
from hvd_imgcls.data.augment.colour import (
    FACTOR_ONE,
    SHADE_ONE,
    blend,
    grey,
    mean_grey,
    shift_hue,
)
from hvd_imgcls.data.augment.fixed_point import round_shift

from .batches import augmented_images, batch_of, random_batch


@pytest.mark.parametrize("bits", [1, 7, 16])
def test_round_shift_rounds_half_to_even(bits):
    values = np.arange(-5000, 5000, dtype=np.int32) * (1 if bits < 16 else 4096)
    np.testing.assert_array_equal(round_shift(tf.constant(values), bits), np.rint(values / 2**bits))


def grey_by_hand(images):
    return np.rint(images.numpy().astype(float) @ [0.299, 0.587, 0.114])[..., None]


def test_grey_is_that_of_bt_601():
    images = random_batch(4).images
    # The weights are rounded to 2**-16, which may turn a tie.
    difference = grey(images).numpy() - grey_by_hand(images)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 1.75])
def test_blend_is_that_of_floats(factor):
    images = random_batch(3).images
    other = mean_grey(images)
    blended = blend(images, other, tf.fill([3], round(factor * FACTOR_ONE))).numpy()
    mean = other.numpy() / SHADE_ONE
    np.testing.assert_allclose(mean[:, 0, 0, 0], grey_by_hand(images).mean((1, 2, 3)), atol=0.1)
    exact = factor * images.numpy().astype(float) + (1 - factor) * mean
    np.testing.assert_array_equal(blended, np.clip(np.rint(exact), 0, 255))
    assert np.array_equal(blended, images) == (factor == 1.0)


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.25, 0.5])
def test_hue_is_that_of_colorsys(turn):
    images = random_batch(2).images
    shifted = shift_hue(images, tf.fill([2], round(turn * 6 * FACTOR_ONE))).numpy()

    def by_hand(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))

    expected = np.apply_along_axis(by_hand, -1, images.numpy())
    # Hue is rounded to 1/4096 of a sector: 255 / 4096 of a value, and 0.5.
    assert np.abs(shifted - expected).max() < 0.6
    assert np.array_equal(shifted, images) == (turn == 0.0)


def test_brightness_factors_are_spread_over_their_range():
    batch = batch_of(np.full((400, 1, 1, 3), 100, np.uint8))
    part = ColourJitter(name="colour_jitter", brightness=0.5)
    values = augmented_images(batch, part)[:, 0, 0, 0]
    assert (values.min(), values.max()) == (50, 150)
    assert values.mean() == pytest.approx(100, abs=5)


def test_contrast_keeps_the_mean_and_spreads_the_values():
    images = np.random.default_rng(0).integers(100, 156, (50, 8, 8, 1)).astype(np.uint8)
    changed = augmented_images(batch_of(images), ColourJitter(name="colour_jitter", contrast=0.9))
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=0.6)
    ratios = changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert ratios.min() < 0.3
    assert ratios.max() > 1.7


def test_saturation_of_grey_images_changes_nothing():
    images = np.repeat(random_batch(5, channels=1).images.numpy(), 3, axis=-1)
    part = ColourJitter(name="colour_jitter", saturation=1.0, hue=0.5)
    np.testing.assert_array_equal(augmented_images(batch_of(images), part), images)


def test_greyscale_replaces_whole_images_by_their_grey():
    batch = random_batch(300)
    changed = augmented_images(batch, RandomGreyscale(name="random_greyscale", probability=0.3))
    is_grey = (changed == changed[..., :1]).all(axis=(1, 2, 3))
    assert 60 < is_grey.sum() < 120
    images = batch.images.numpy()
    np.testing.assert_array_equal(changed[~is_grey], images[~is_grey])
    expected = np.repeat(grey(batch.images).numpy(), 3, axis=-1)
    np.testing.assert_array_equal(changed[is_grey], expected[is_grey])
