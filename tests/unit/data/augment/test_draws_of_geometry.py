"""Crops, flips and rotations: what is drawn has the distribution of the source's rule."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment import Batch, make_augment

from .draws import drawn, have_probabilities, have_probability, same_distribution

SHAPE = (32, 32, 3)


@pytest.mark.parametrize("padding", [1, 4])
def test_all_windows_of_the_padded_image_are_equally_likely(padding):
    # He et al. 2015, section 4.2: a random window of the image padded on each side. The first and
    # the last window count, and rows and columns are drawn independently.
    tops, lefts = drawn(sections.RandomCrop(name="random_crop", padding=padding), SHAPE)
    places = range(-padding, padding + 1)
    windows = dict.fromkeys(itertools.product(places, places), 1 / len(places) ** 2)
    assert have_probabilities(np.stack([tops, lefts], axis=1), windows)
    too_few = dict.fromkeys(itertools.product(places[:-1], places[:-1]), 1 / (2 * padding) ** 2)
    assert not have_probabilities(np.stack([tops, lefts], axis=1), too_few)


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_flips_have_their_probability(probability, vertical):
    part = sections.RandomFlip(name="random_flip", probability=probability, vertical=vertical)
    (flipped,) = drawn(part, SHAPE)
    assert have_probability(flipped, probability)
    assert not have_probability(flipped, abs(probability - 0.02))


def test_alternating_flips_follow_the_first_epoch():
    # Jordan 2024, section 3.6: in the first epoch, half of the images at random; in the second,
    # fourth, ... those that were not flipped in the first, in the third, fifth, ... those that
    # were. So any two consecutive epochs have all images both ways.
    num = 2000
    images = np.zeros((num, 1, 2, 1), np.uint8)
    images[:, :, 1] = 1
    part = sections.RandomFlip(name="random_flip", alternating=True)
    augment = make_augment([part], seed=1, image_shape=images.shape[1:])
    by_epoch = [
        augment(
            Batch(
                images=tf.constant(images),
                targets=tf.zeros([num, 2]),
                examples=tf.range(num, dtype=tf.int64),
                epoch=tf.constant(epoch, tf.int64),
            )
        ).images.numpy()[:, 0, 0, 0]
        == 1
        for epoch in range(7)
    ]
    assert have_probability(by_epoch[0], 0.5)
    for epoch, flipped in enumerate(by_epoch):
        np.testing.assert_array_equal(flipped, by_epoch[0] ^ (epoch % 2 == 1))


@pytest.mark.parametrize("degrees", [15.0, 180.0])
def test_angles_are_uniform_between_minus_and_plus_the_largest(degrees):
    part = sections.RandomRotation(name="random_rotation", degrees=degrees)
    (maps,) = drawn(part, SHAPE)
    # The output pixel at (x, y) is the input pixel at (x cos - y sin, x sin + y cos).
    angles = np.degrees(np.arctan2(maps[:, 3], maps[:, 0]))
    random = np.random.default_rng(0)
    assert same_distribution(angles, random.uniform(-degrees, degrees, 20_000))
    assert not same_distribution(angles, random.uniform(-0.95 * degrees, 0.95 * degrees, 20_000))
    assert not same_distribution(angles, random.normal(0, degrees / 3**0.5, 20_000))


def test_rotations_have_their_probability():
    part = sections.RandomRotation(name="random_rotation", degrees=30.0, probability=0.3)
    (maps,) = drawn(part, SHAPE)
    # One of 4,097 angles is 0 too.
    assert have_probability(maps[:, 3] != 0, 0.3 * 4096 / 4097)
