"""A rank of `bench sharded-head`: trains a last layer of a million classes for some steps.

    python -m hvd_imgcls.bench.steps.sharded_head_rank RESULT HEAD NUM_CLASSES

RESULT receives the seconds of every step, and the bytes of variables and of the process, the
largest of all ranks.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.bench.steps.sharded_head import (
    BATCH_SIZE,
    FEATURES,
    REPLICATED,
    SAMPLED,
    SAMPLED_FRACTION,
    STEPS,
)
from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedAccuracy
from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import ClassSampler
from hvd_imgcls.keras.optimizer.distributed_optimizer import register_part_variables
from hvd_imgcls.plan.class_division import ClassDivision


def main(words: list[str]) -> None:
    """Trains and writes the times of the root and the largest numbers of all ranks."""
    result, arm, num_classes = words[0], words[1], int(words[2])
    ranks = distributed.start()
    topology = ranks.topology
    keras.utils.set_random_seed(0)
    model = _build(num_classes)
    optimizer = hvd.DistributedOptimizer(keras.optimizers.AdamW(1e-3), skip_non_finite=True)
    random = np.random.default_rng(topology.rank)
    inputs = random.normal(size=(BATCH_SIZE, FEATURES)).astype(np.float32)
    targets: Any = random.integers(0, num_classes, BATCH_SIZE)
    if arm != REPLICATED:
        division = ClassDivision(
            num_classes=num_classes, num_parts=topology.size, size=topology.size
        )
        part = ClassPart(division, topology.rank)
        sampler = ClassSampler(part, SAMPLED_FRACTION, seed=0) if arm == SAMPLED else None
        head = ClassShardedHead(model, part, sampler)
        model = head.model
        register_part_variables(optimizer, head.variables)
        targets = np.stack([np.ones(BATCH_SIZE), targets], axis=-1).astype(np.float32)
        _compile(model, optimizer, ClassShardedCrossEntropy(part), ClassShardedAccuracy(part))
    else:
        _compile(
            model,
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        )
    times = _Times()
    dataset = tf.data.Dataset.from_tensors((inputs, targets)).repeat(STEPS)
    model.fit(dataset, callbacks=[times], verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    own = {
        "variables": sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables),
        "resident": psutil.Process().memory_info().rss,
        # In KiB on Linux.
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    of_ranks = ranks.gather_json(own)
    if topology.is_root:
        largest = {name: max(one[name] for one in of_ranks) for name in own}
        Path(result).write_text(json.dumps({"seconds": times.seconds, **largest}), encoding="utf-8")
    ranks.barrier()


def _build(num_classes: int) -> keras.Model:
    """Returns a small network with a large last layer, as every rank builds it."""
    inputs = keras.Input((FEATURES,))
    features = keras.layers.Dense(FEATURES, activation="relu")(inputs)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits)


def _compile(model: keras.Model, optimizer: Any, loss: Any, accuracy: Any) -> None:
    model.compile(optimizer, loss=loss, weighted_metrics=[accuracy], jit_compile=False)


class _Times(keras.callbacks.Callback):
    """Measures the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._began = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)


if __name__ == "__main__":
    main(sys.argv[1:])
