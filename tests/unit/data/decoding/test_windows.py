"""Random windows against an independent sample of the rule, and what they are functions of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding.windows import random_window

PINNED = [[17, 84, 351, 399], [181, 257, 204, 240], [106, 279, 229, 280]]
NUMBER = 6000
DEFAULT = {}
WIDE = {"aspect_ratio": (0.25, 4.0)}
LARGE = {"area": (0.5, 0.9), "aspect_ratio": (1.0, 2.0)}


def drawn(size, options, key=1, first=0, number=NUMBER):
    """Returns windows of examples in a row, `[number, 4]`."""
    section = RandomResizedCrop(name="random_resized_crop", **options)

    @tf.function(autograph=False)
    def draw(size, key, examples):
        return tf.map_fn(
            lambda example: tf.concat(random_window(size, section, key, example), axis=0),
            examples,
            fn_output_signature=tf.int32,
        )

    examples = tf.range(first, first + number, dtype=tf.int64)
    return draw(tf.constant(size), tf.constant(key, tf.int64), examples).numpy()


def by_the_rule(size, options, number=20_000):
    """Returns windows by torchvision's rule, with NumPy's random numbers."""
    random = np.random.default_rng(0)
    height, width = size
    area, ratios = options.get("area", (0.08, 1)), options.get("aspect_ratio", (3 / 4, 4 / 3))

    def one():
        for _ in range(10):
            target = height * width * random.uniform(*area)
            ratio = math.exp(random.uniform(math.log(ratios[0]), math.log(ratios[1])))
            w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
            if 0 < w <= width and 0 < h <= height:
                return random.integers(height - h + 1), random.integers(width - w + 1), h, w
        if width / height < ratios[0]:
            w, h = width, round(width / ratios[0])
        elif width / height > ratios[1]:
            w, h = round(height * ratios[1]), height
        else:
            w, h = width, height
        return (height - h) // 2, (width - w) // 2, h, w

    return np.array([one() for _ in range(number)])


def distance(one, other):
    """Returns the Kolmogorov-Smirnov distance of two samples."""
    values = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(of), values, side="right") / len(of) for of in (one, other)]
    return np.abs(shares[0] - shares[1]).max()


def quantities(windows, size):
    """Returns what is compared: areas, ratios, places and the room that they leave."""
    first, extent = windows[:, :2], windows[:, 2:]
    room = np.maximum(np.array(size) - extent, 1)
    return {
        "area": extent.prod(axis=1),
        "ratio": extent[:, 1] / extent[:, 0],
        "row": first[:, 0],
        "column": first[:, 1],
        "relative row": first[:, 0] / room[:, 0],
        "relative column": first[:, 1] / room[:, 1],
    }


@pytest.mark.parametrize("options", [DEFAULT, WIDE, LARGE], ids=["default", "wide", "large"])
@pytest.mark.parametrize(
    "size",
    [
        (480, 640),
        pytest.param((640, 480), marks=pytest.mark.slow),
        pytest.param((256, 256), marks=pytest.mark.slow),
        (300, 4000),
        pytest.param((64, 1024), marks=pytest.mark.slow),
    ],
)
def test_windows_are_distributed_as_the_rule_says(size, options):
    ours = quantities(drawn(size, options), size)
    theirs = quantities(by_the_rule(size, options), size)
    # 0.1 % of samples from one distribution are further apart than 0.029.
    apart = {name: distance(ours[name], theirs[name]) for name in ours}
    assert max(apart.values()) < 0.029, apart


def test_the_mean_area_is_not_that_of_sampled_heights():
    areas = drawn((480, 640), DEFAULT)[:, 2:].prod(axis=1) / (480 * 640)
    assert areas.mean() == pytest.approx(0.431, abs=0.01)
    assert np.median(areas) == pytest.approx(0.420, abs=0.015)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (65_500, 1)])
def test_windows_of_tiny_images_lie_inside(size):
    windows = drawn(size, DEFAULT, number=200)
    first, extent = windows[:, :2], windows[:, 2:]
    assert (first >= 0).all()
    assert (extent >= 1).all()
    assert (first + extent <= size).all()


def test_numbers_of_neighbours_and_epochs_are_independent():
    size = (480, 640)
    one, next_epoch = drawn(size, DEFAULT), drawn(size, DEFAULT, key=2)
    values, others = (np.stack(list(quantities(of, size).values())) for of in (one, next_epoch))
    of_neighbours = np.corrcoef(values[:, :-1], values[:, 1:])
    of_epochs = np.corrcoef(values, others)
    half = len(values)
    assert np.abs(of_neighbours[:half, half:]).max() < 0.06
    assert np.abs(of_epochs[:half, half:]).max() < 0.06
    # Area and aspect ratio do depend on each other: large windows fit only with the image's.
    shape_and_place = np.corrcoef(values[[0, 1, 4, 5]])
    assert np.abs(shape_and_place[:2, 2:]).max() < 0.06
    assert np.abs(shape_and_place[2, 3]) < 0.06


def test_the_window_is_a_function_of_key_and_example():
    """These numbers are the same on every machine and in every version."""
    windows = drawn((480, 640), DEFAULT, key=-5, first=10**9, number=3)
    assert windows.tolist() == PINNED
