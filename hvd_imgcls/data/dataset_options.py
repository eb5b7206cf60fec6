"""How the datasets of this package run: on threads of their own, with nothing left to guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def on_own_threads(num_threads: int) -> tf.data.Options:
    """Returns options that keep a dataset to its threads and its order.

    TensorFlow's autotuning is off: there is nothing to tune, and under TensorFlow 2.21 its
    thread can miss that a dataset has ended. The program then waits until that thread looks
    again, which takes up to as long as the dataset has run, a minute at most. A prediction of
    21 s took 41 s that way (one core for each of two ranks, 2026-11-22).

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
