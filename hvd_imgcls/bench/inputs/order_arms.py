"""The arms of row e of `bench input`: the order of one epoch, in a fresh process.

    python -m hvd_imgcls.bench.inputs.order_arms CORE ours|shuffle NUM_EXAMPLES BATCHES RESULT.json

Passes the example numbers of an epoch through a dataset in batches of 256, as training reads
them: BATCHES of them, or all if that is 0. Memory is the peak resident set size, minus that of
the process before.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil

BATCH_SIZE = 256


def ours(num_examples: int) -> Any:
    """Returns the first stage of `training_dataset` for image files: one exact order."""
    import tensorflow as tf

    from hvd_imgcls.data.order.epoch_order import epoch_order

    num_batches = num_examples // BATCH_SIZE

    def rows_of(epoch: Any) -> Any:
        order = epoch_order(num_examples, seed=0, epoch=int(epoch))
        return order[: num_batches * BATCH_SIZE].reshape(num_batches, BATCH_SIZE)

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(rows_of, [epoch], tf.int64, stateful=False)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [None, BATCH_SIZE]))

    batches = tf.data.Dataset.range(1).flat_map(batches_of)
    return batches.flat_map(tf.data.Dataset.from_tensor_slices)


def shuffle(num_examples: int) -> Any:
    """Returns `shuffle` with a buffer for the whole epoch, which is equally random."""
    import tensorflow as tf

    return tf.data.Dataset.range(num_examples).shuffle(num_examples, seed=0)


def main(words: list[str]) -> None:
    """Measures one arm and writes its numbers."""
    os.sched_setaffinity(0, {int(words[0])})
    import tensorflow as tf

    num_examples, num_batches = int(words[2]), int(words[3])
    # The one-time cost of any dataset.
    list(tf.data.Dataset.range(2).shuffle(2).batch(2).as_numpy_iterator())
    before = psutil.Process().memory_info().rss
    wall, cpu = time.perf_counter(), time.process_time()
    dataset = {"ours": ours, "shuffle": shuffle}[words[1]](num_examples)
    batches = iter(dataset.batch(BATCH_SIZE, drop_remainder=True))
    next(batches)
    first = time.perf_counter() - wall
    for _ in itertools.islice(batches, num_batches - 1 if num_batches else None):
        pass
    numbers = {
        "first batch": first,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6,
    }
    Path(words[4]).write_text(json.dumps(numbers), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
