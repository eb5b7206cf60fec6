"""Random numbers per example: a pure function of (seed, epoch, example).

They have no state and do not depend on the order of calls: the same numbers on any number of
ranks and threads, in any batch, after any restart. The hash is the finaliser of SplitMix64
(Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA), applied
once per part of the key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvd_imgcls.data.randomness.keys import SPLITMIX64

_PHILOX = 1  # TensorFlow's number of the algorithm
_GOLDEN, _FIRST, _SECOND = (np.uint64(constant) for constant in SPLITMIX64)


def uniform_words(
    examples: tf.Tensor, *, seed: int, epoch: tf.Tensor, streams: Sequence[int]
) -> tf.Tensor:
    """Returns 32 random bits per stream and example, in one call: the cost is per operation.

    Args:
        examples: Example numbers, `[batch]`, int64.
        seed: `train.seed`.
        epoch: 0-based, scalar, int64.
        streams: Distinguish random numbers for different purposes.

    Returns:
        `[len(streams), batch]`, uint64, each below 2**32.
    """
    keys = _mix(tf.constant(np.uint64(seed)), tf.constant(np.array(streams, np.uint64)))
    keys = _mix(keys, tf.cast(epoch, tf.uint64))
    hashed = _mix(keys[:, tf.newaxis], tf.cast(examples, tf.uint64)[tf.newaxis])
    return tf.bitwise.right_shift(hashed, tf.constant(np.uint64(32)))


def to_integers(words: tf.Tensor, upper: int | tf.Tensor) -> tf.Tensor:
    """Converts words to integers, uniform over `0 .. upper - 1`.

    Args:
        words: From `uniform_words`, any shape.
        upper: Exclusive bound, 1 to 2**31, scalar or one per word.

    Returns:
        The shape of `words`, int32.
    """
    return tf.cast(_scale(words, tf.cast(upper, tf.uint64)), tf.int32)


def to_events(words: tf.Tensor, probability: float) -> tf.Tensor:
    """Converts words to events: True with this probability, rounded to a multiple of 2**-32.

    Args:
        words: From `uniform_words`, any shape.
        probability: 0 means never, 1 always.

    Returns:
        The shape of `words`, bool.
    """
    return words < np.uint64(round(probability * 2**32))


def to_bytes(words: tf.Tensor, num: int) -> tf.Tensor:
    """Returns many random bytes per word, by hashing the word with 0, 1, 2 ...

    Args:
        words: From `uniform_words`, `[batch]`.
        num: Bytes per word.

    Returns:
        `[batch, num]`, uint8, uniform.
    """
    hashed = _mix(words[:, tf.newaxis], tf.constant(np.arange(num, dtype=np.uint64)))
    return tf.cast(tf.bitwise.right_shift(hashed, tf.constant(np.uint64(56))), tf.uint8)


def words_of_example(key: tf.Tensor, example: tf.Tensor, num: int) -> tf.Tensor:
    """Returns random words for one example, with few operations.

    Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11), with
    the example in the upper half of the counter.

    Args:
        key: From `keys.stream_key`, scalar int64.
        example: Its number, scalar int64.
        num: Number of words.

    Returns:
        `[num]`, int64, each 0 to 2**32 - 1.
    """
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[num],
        key=tf.reshape(tf.bitcast(key, tf.uint64), [1]),
        counter=tf.bitcast(tf.stack([tf.constant(0, tf.int64), example]), tf.uint64),
        alg=tf.constant(_PHILOX),
        dtype=tf.uint32,
    )
    return tf.cast(words, tf.int64)


def _scale(words: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
    """Returns a word as a fraction of 2**32, multiplied by the bound and rounded down."""
    return tf.bitwise.right_shift(words * upper, tf.constant(np.uint64(32)))


def _mix(key: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Hashes one more part into a key, both uint64."""
    hashed = (key + _GOLDEN) ^ (part * _FIRST + _GOLDEN)
    hashed = (hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(30)))) * _FIRST
    hashed = (hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(27)))) * _SECOND
    return hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(31)))
