"""Options shared by all `tf.data` datasets of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def on_own_threads(num_threads: int) -> tf.data.Options:
    """Returns options with a private thread pool, deterministic order and no autotuning.

    Autotuning has nothing to tune here, and under TensorFlow 2.21 its thread can miss the end of
    a dataset. The program then waits until that thread wakes up again: 42 s instead of 24 s for a
    prediction by two ranks with one core each (2026-11-22, docs/benchmarks.md; found by
    inspecting the waiting thread, not in TensorFlow's source).

    Args:
        num_threads: Threads of the dataset, at least 1.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # A private pool: TensorFlow's shared pool has one thread per core in every rank.
    options.threading.private_threadpool_size = num_threads
    options.autotune.enabled = False
    return options
