"""Random numbers that belong to an example: a pure function of (seed, epoch, example).

No state and no order of calls: the same numbers on any number of ranks and threads, in any
batch, after any restart. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood
2014, "Fast splittable pseudorandom number generators", OOPSLA), applied once per part of
the key.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def uniform_integers(
    examples: tf.Tensor, *, seed: int, epoch: tf.Tensor, stream: int, upper: int
) -> tf.Tensor:
    """Returns one number per example, all of `0 .. upper - 1` equally likely.

    Args:
        examples: Example numbers, `[batch]`, int64.
        seed: `train.seed`.
        epoch: 0-based, scalar, int64.
        stream: Sets apart numbers for different purposes.
        upper: Exclusive bound, at most 2**31.

    Returns:
        `[batch]`, int64.
    """
    key = tf.constant(np.uint64(seed))
    key = _mix(key, tf.constant(np.uint64(stream)))
    key = _mix(key, tf.cast(epoch, tf.uint64))
    hashed = _mix(key, tf.cast(examples, tf.uint64))
    # The upper 32 bits, as a fraction of 2**32, times the bound.
    top = tf.bitwise.right_shift(hashed, tf.constant(np.uint64(32)))
    scaled = tf.bitwise.right_shift(top * np.uint64(upper), tf.constant(np.uint64(32)))
    return tf.cast(scaled, tf.int64)


def _mix(key: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Hashes one more part into a key, both uint64."""
    hashed = (key + _GOLDEN) ^ (part * _FIRST + _GOLDEN)
    hashed = (hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(30)))) * _FIRST
    hashed = (hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(27)))) * _SECOND
    return hashed ^ tf.bitwise.right_shift(hashed, tf.constant(np.uint64(31)))
