"""What is drawn for one example says nothing about another, another epoch or another number."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.randomness.random_numbers import uniform_words

from .draws import drawn

NUM = 20_000
SHAPE = (32, 48, 3)
PARTS = [
    sections.RandomCrop(name="random_crop"),
    sections.RandomFlip(name="random_flip"),
    sections.RandomRotation(name="random_rotation", degrees=30.0),
    sections.RandomErasing(name="random_erasing"),
    sections.Cutout(name="cutout", size=8),
    sections.ColourJitter(
        name="colour_jitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    ),
    sections.RandomGreyscale(name="random_greyscale", probability=0.3),
    sections.RandAugment(name="rand_augment"),
    sections.TrivialAugment(name="trivial_augment"),
    sections.Mixup(name="mixup"),
    sections.Cutmix(name="cutmix"),
]
BY_NAME = pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])


def largest_of_chance(num_correlations):
    """Returns a bound that hardly any of some correlations of independent numbers exceeds."""
    return stats.norm.isf(1e-4 / num_correlations) / np.sqrt(NUM)


def columns(part, **options):
    """The numbers that vary, as ranks, `[columns, num]`."""
    arrays = [array.reshape(NUM, -1).T for array in drawn(part, SHAPE, num=NUM, **options)]
    rows = np.concatenate([array.astype(float) for array in arrays])
    return np.array([stats.rankdata(row) for row in rows if np.ptp(row)])


def correlations(first, second):
    both = np.corrcoef(first, second)
    return np.abs(both[: len(first), len(first) :])


@BY_NAME
def test_neighbours_epochs_and_seeds_are_independent(part):
    here = columns(part)
    # Mixing pairs neighbours, so they matter most; 8 and 64 are usual batch sizes.
    others = [np.roll(here, lag, axis=1) for lag in (1, 2, 8, 64)]
    others += [columns(part, epoch=epoch) for epoch in (1, 2)]
    others.append(columns(part, seed=2))
    bound = largest_of_chance(len(others) * len(here) ** 2)
    for other in others:
        assert correlations(here, other).max() < bound


@pytest.mark.parametrize(
    ("part", "independent"),
    [
        # Row and column of the window.
        (PARTS[0], [(0, 1)]),
        # Row and column of the square.
        (PARTS[4], [(0, 2)]),
        (PARTS[5], list(itertools.combinations(range(4), 2))),
        # Kind of the first and of the second operation.
        (PARTS[7], [(0, 2)]),
    ],
    ids=["random_crop", "cutout", "colour_jitter", "rand_augment"],
)
def test_numbers_of_one_example_are_independent(part, independent):
    numbers = [array.reshape(NUM, -1)[:, 0] for array in drawn(part, SHAPE, num=NUM)]
    for one, other in independent:
        correlation = np.corrcoef(numbers[one], numbers[other])[0, 1]
        assert abs(correlation) < largest_of_chance(len(independent))


def test_places_of_erased_rectangles_do_not_depend_on_their_size():
    part = sections.RandomErasing(name="random_erasing", probability=1.0)
    top, bottom, left, right, _ = drawn(part, (224, 224, 3), num=NUM)
    tall, wide = bottom - top, right - left
    numbers = [tall * wide, tall / wide, top / (225 - tall), left / (225 - wide)]
    found = np.abs(np.corrcoef([stats.rankdata(number) for number in numbers]))
    # Tall and wide rectangles alike are limited by the image: area and ratio need not be
    # independent, but their ranks are uncorrelated by symmetry.
    assert found[np.triu_indices(4, 1)].max() < largest_of_chance(6)


def test_words_of_all_streams_are_independent_and_uniform():
    streams = range(1, 1 + 3 * 64)
    words = uniform_words(
        tf.range(NUM, dtype=tf.int64), seed=0, epoch=tf.constant(0, tf.int64), streams=streams
    ).numpy()
    found = np.abs(np.corrcoef(words.astype(float)))
    pairs = np.triu_indices(len(streams), 1)
    assert found[pairs].max() < largest_of_chance(len(pairs[0]))
    counts = np.array([np.bincount(row >> np.uint64(26), minlength=64) for row in words])
    assert stats.chisquare(counts, axis=1).pvalue.min() > 1e-3 / len(streams)
