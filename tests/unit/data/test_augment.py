import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.config.augmentations import RandomShift
from hvd_imgcls.data.augment import make_augment, random_shift
from hvd_imgcls.data.random_numbers import uniform_integers
from hvd_imgcls.errors import ConfigError

MASK = 2**64 - 1


def mix(key, part):
    """The same hash in Python's unbounded integers."""
    hashed = ((key + 0x9E3779B97F4A7C15) ^ (part * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15)) & MASK
    hashed = ((hashed ^ (hashed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    hashed = ((hashed ^ (hashed >> 27)) * 0x94D049BB133111EB) & MASK
    return hashed ^ (hashed >> 31)


def expected_integer(example, seed, epoch, stream, upper):
    hashed = mix(mix(mix(seed & MASK, stream), epoch) & MASK, example)
    return ((hashed >> 32) * upper) >> 32


def draw(examples, *, seed=0, epoch=0, stream=1, upper=3):
    numbers = uniform_integers(
        tf.constant(examples, tf.int64),
        seed=seed,
        epoch=tf.constant(epoch, tf.int64),
        stream=stream,
        upper=upper,
    )
    return numbers.numpy()


@settings(deadline=None, max_examples=30)
@given(
    examples=st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 1000),
    stream=st.integers(0, 100),
    upper=st.integers(1, 2**31),
)
def test_integers_are_those_of_the_reference(examples, seed, epoch, stream, upper):
    drawn = draw(examples, seed=seed, epoch=epoch, stream=stream, upper=upper)
    expected = [expected_integer(example, seed, epoch, stream, upper) for example in examples]
    assert drawn.tolist() == expected


@pytest.mark.parametrize("changed", ["examples", "seed", "epoch", "stream"])
def test_integers_of_neighbouring_keys_are_even_and_independent(changed):
    num = 40_000
    upper = 5
    keys = {
        "examples": (list(range(num)), list(range(num, 2 * num))),
        "seed": (0, 1),
        "epoch": (0, 1),
        "stream": (1, 2),
    }
    base = {"examples": list(range(num)), "upper": upper}
    first, second = (draw(**{**base, changed: value}) for value in keys[changed])
    table = np.zeros((upper, upper))
    np.add.at(table, (first, second), 1)
    expected = num / upper**2
    chi_squared = ((table - expected) ** 2 / expected).sum()
    # 24 degrees of freedom: beyond 60 once in 14,000 tables of true chance.
    assert chi_squared < 60


def shift_by_hand(image, example, *, max_pixels, seed, epoch):
    row, column = (
        expected_integer(example, seed, epoch, stream, 2 * max_pixels + 1) for stream in (1, 2)
    )
    height, width, _ = image.shape
    padded = np.pad(image, [(max_pixels, max_pixels)] * 2 + [(0, 0)])
    return padded[row : row + height, column : column + width]


@pytest.mark.parametrize("max_pixels", [1, 2])
def test_random_shift_is_that_of_one_image_after_the_other(max_pixels):
    images = np.random.default_rng(0).integers(1, 256, (40, 8, 6, 2)).astype(np.uint8)
    examples = np.arange(100, 140)
    shifted = random_shift(
        tf.constant(images),
        tf.constant(examples),
        max_pixels=max_pixels,
        seed=7,
        epoch=tf.constant(3, tf.int64),
        first_stream=1,
    ).numpy()
    by_hand = [
        shift_by_hand(image, int(example), max_pixels=max_pixels, seed=7, epoch=3)
        for image, example in zip(images, examples, strict=True)
    ]
    np.testing.assert_array_equal(shifted, by_hand)
    assert shifted.dtype == np.uint8
    assert not np.array_equal(shifted, images)


@pytest.mark.parametrize("in_graph", [False, True])
def test_augment_of_parts_of_a_batch_gives_the_same_pixels(in_graph):
    parts = (RandomShift(name="random_shift"), RandomShift(name="random_shift", max_pixels=2))
    augment = make_augment(parts, seed=1, image_shape=(8, 8, 1))
    if in_graph:
        augment = tf.function(augment, reduce_retracing=True)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)), tf.uint8)
    examples = tf.range(30, dtype=tf.int64)
    epoch = tf.constant(2, tf.int64)
    whole = augment(images, examples, epoch).numpy()
    parts_of_it = [
        augment(images[first:last], examples[first:last], epoch).numpy()
        for first, last in ((0, 1), (1, 8), (8, 30))
    ]
    np.testing.assert_array_equal(np.concatenate(parts_of_it), whole)
    assert not np.array_equal(augment(images, examples, epoch + 1).numpy(), whole)


def test_augment_by_nothing_changes_nothing():
    images = tf.ones([2, 8, 8, 1], tf.uint8)
    augment = make_augment((), seed=0, image_shape=(8, 8, 1))
    assert augment(images, tf.range(2, dtype=tf.int64), tf.constant(0, tf.int64)) is images


def test_augment_beyond_the_image_names_the_key():
    part = RandomShift(name="random_shift", max_pixels=8)
    with pytest.raises(ConfigError, match=r"augment\.0\.max_pixels"):
        make_augment((part,), seed=0, image_shape=(8, 8, 1))
