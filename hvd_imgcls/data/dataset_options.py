"""How the datasets of this package run: on threads of their own, with nothing left to guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def on_own_threads(num_threads: int) -> tf.data.Options:
    """Returns options that keep a dataset to its threads and its order.

    TensorFlow's autotuning is off: there is nothing to tune, and under TensorFlow 2.21 its
    thread can miss that a dataset has ended. The program then waits until that thread looks
    again: 42 s instead of 24 s for a prediction by two ranks with a core each (2026-11-22,
    docs/benchmarks.md; found where that thread is, not in TensorFlow's source).

    Args:
        num_threads: Threads of the dataset, at least 1.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # Its own threads: TensorFlow's shared pool has one per core in every rank.
    options.threading.private_threadpool_size = num_threads
    options.autotune.enabled = False
    return options
