import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.data.randomness.keys import stream_key
from hvd_imgcls.data.randomness.random_numbers import (
    to_bytes,
    to_events,
    to_integers,
    uniform_words,
)

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
    words = uniform_words(
        tf.constant(examples, tf.int64),
        seed=seed,
        epoch=tf.constant(epoch, tf.int64),
        streams=[stream],
    )
    return to_integers(words[0], upper).numpy()


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


def words_of(num, streams=(1,)):
    examples = tf.range(num, dtype=tf.int64)
    return uniform_words(examples, seed=3, epoch=tf.constant(2, tf.int64), streams=streams)


def test_words_of_several_streams_are_those_of_each():
    words = words_of(50, streams=(1, 2, 70))
    assert words.shape == (3, 50)
    for row, stream in zip(words, (1, 2, 70), strict=True):
        np.testing.assert_array_equal(row, words_of(50, streams=(stream,))[0])
    assert words.numpy().max() < 2**32


def test_integers_with_a_bound_per_word_stay_below_it():
    words = words_of(1000)[0]
    uppers = tf.range(1, 1001)
    numbers = to_integers(words, uppers).numpy()
    assert numbers.dtype == np.int32
    assert (numbers >= 0).all()
    assert (numbers < uppers.numpy()).all()
    expected = [
        int(word) * upper >> 32 for word, upper in zip(words.numpy(), range(1, 1001), strict=True)
    ]
    assert numbers.tolist() == expected


@pytest.mark.parametrize(
    ("probability", "tolerance"), [(0.0, 0.0), (0.1, 0.01), (0.5, 0.01), (1.0, 0.0)]
)
def test_events_come_as_often_as_they_should(probability, tolerance):
    share = to_events(words_of(40_000)[0], probability).numpy().mean()
    assert abs(share - probability) <= tolerance


def test_events_of_the_least_and_the_largest_word_are_never_and_always():
    words = tf.constant([0, 2**32 - 1], tf.uint64)
    assert to_events(words, 0.0).numpy().tolist() == [False, False]
    assert to_events(words, 0.5).numpy().tolist() == [True, False]
    assert to_events(words, 1.0).numpy().tolist() == [True, True]


def test_bytes_of_neighbouring_examples_are_even_and_independent():
    drawn = to_bytes(words_of(300)[0], 100).numpy()
    assert (drawn.shape, drawn.dtype) == ((300, 100), np.uint8)
    counts = np.bincount(drawn.ravel(), minlength=256)
    expected = drawn.size / 256
    # 255 degrees of freedom: beyond 350 once in 13,000 tables of true chance.
    assert ((counts - expected) ** 2 / expected).sum() < 350
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.03


@given(seed=st.integers(0, 2**32 - 1), stream=st.integers(0, 2**31), epoch=st.integers(0, 10_000))
def test_the_key_of_an_epoch_is_the_same_hash(seed, stream, epoch):
    key = stream_key(seed, stream, epoch)
    assert -(2**63) <= key < 2**63
    assert key % 2**64 == mix(mix(seed, stream), epoch)
