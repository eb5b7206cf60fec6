"""Colour jitter and random greyscale: factors and events have the distribution of the rule."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment import making
from hvd_imgcls.data.augment.colour import CHANGES, SHADE_ONE, blend, grey, mean_grey, shift_hue

from .draws import (
    are_uncorrelated,
    drawn,
    have_probabilities,
    have_probability,
    same_distribution,
)

NUM = 20_000
SHAPE = (8, 8, 3)
NAMES = ("brightness", "contrast", "saturation")
ONE = 4096
TURN = 6 * ONE


@pytest.mark.parametrize("strength", [0.4, 1.0, 1.5])
@pytest.mark.parametrize("name", NAMES)
def test_factors_are_uniform_from_1_minus_to_1_plus_the_strength(name, strength):
    # torchvision's ColorJitter: uniform over [max(0, 1 - strength), 1 + strength].
    *factors, shift, _ = drawn(
        sections.ColourJitter(name="colour_jitter", **{name: strength}), SHAPE
    )
    for other, factor in zip(NAMES, factors, strict=True):
        if other != name:
            assert (factor == ONE).all()
    assert (shift == 0).all()
    factor = factors[NAMES.index(name)] / ONE
    random, least = np.random.default_rng(0), max(0.0, 1 - strength)
    assert same_distribution(factor, random.uniform(least, 1 + strength, NUM))
    # Neither a uniform logarithm nor half the strength.
    logarithms = random.uniform(-np.log(1 + strength), np.log(1 + strength), NUM)
    assert not same_distribution(factor, np.exp(logarithms))
    assert not same_distribution(factor, random.uniform(1 - strength / 2, 1 + strength / 2, NUM))


@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_shifts_of_the_hue_are_uniform_fractions_of_the_circle(strength):
    *_, shift, _ = drawn(sections.ColourJitter(name="colour_jitter", hue=strength), SHAPE)
    random = np.random.default_rng(0)
    assert same_distribution(shift / TURN, random.uniform(-strength, strength, NUM))
    assert not same_distribution(shift / TURN, random.uniform(-strength, strength, NUM) / 2)


def test_all_strengths_of_an_image_are_drawn_independently_and_at_once():
    strengths = dict.fromkeys(NAMES, 0.4)
    part = sections.ColourJitter(name="colour_jitter", hue=0.1, probability=0.7, **strengths)
    *factors, shift, _ = drawn(part, SHAPE)
    changed = [factor != ONE for factor in factors]
    is_jittered = np.any(changed, axis=0)
    assert have_probability(is_jittered, 0.7)
    # One in thousands of the factors is 1 by chance.
    for one in (*changed, shift != 0):
        assert (one & ~is_jittered).sum() == 0
        assert (is_jittered & ~one).sum() < 0.002 * NUM
    numbers = [number[is_jittered] for number in (*factors, shift)]
    for one, other in itertools.combinations(numbers, 2):
        assert are_uncorrelated(one, other)


@pytest.mark.parametrize("hue", [0.0, 0.1])
def test_all_orders_are_equally_likely(hue):
    # torchvision's ColorJitter.get_params: a random permutation of the four changes.
    strengths = dict.fromkeys(NAMES, 0.4)
    part = sections.ColourJitter(name="colour_jitter", hue=hue, probability=0.5, **strengths)
    *amounts, order = drawn(part, SHAPE)
    # Those that are jittered, in case that the order depends on it.
    is_jittered = amounts[0] != ONE
    *amounts, order = (number[is_jittered] for number in (*amounts, order))
    orders = list(itertools.permutations(range(4 if hue else 3)))
    assert have_probabilities(order, dict.fromkeys(orders, 1 / len(orders)))
    assert not have_probabilities(order, {orders[0]: 1})
    # Whatever is drawn besides.
    for amount in amounts[:3]:
        assert are_uncorrelated(amount, order[:, 0])


def test_changes_are_applied_in_the_order_drawn():
    images = np.random.default_rng(0).integers(0, 256, (48, *SHAPE)).astype(np.uint8)
    part = sections.ColourJitter(
        name="colour_jitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    )
    *amounts, order = drawn(part, SHAPE, num=len(images))
    assert len(np.unique(order, axis=0)) > 12
    transform = making._make_transform(part, SHAPE, "augment.0")
    changed = transform.change_images(tf.constant(images), (*map(tf.constant, amounts), order))
    for index, image in enumerate(images):
        one = tf.constant(image[np.newaxis])
        for kind in order[index]:
            amount = tf.constant(amounts[kind][index : index + 1])
            if CHANGES[kind] == "brightness":
                one = blend(one, tf.constant(0), amount)
            elif CHANGES[kind] == "contrast":
                one = blend(one, mean_grey(one), amount)
            elif CHANGES[kind] == "saturation":
                one = blend(one, grey(one) * SHADE_ONE, amount)
            else:
                one = shift_hue(one, amount)
        np.testing.assert_array_equal(changed[index], one[0])


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_greyscale_has_its_probability(probability):
    part = sections.RandomGreyscale(name="random_greyscale", probability=probability)
    (is_grey,) = drawn(part, SHAPE)
    assert have_probability(is_grey, probability)
    assert not have_probability(is_grey, probability + 0.02)
