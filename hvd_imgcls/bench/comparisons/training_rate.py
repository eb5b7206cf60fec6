"""One arm of `bench precision`, `scaling` and `peers`: the throughput of our training.

    python -m hvd_imgcls.bench.comparisons.training_rate \
        RESULT MODEL PRECISION GLOBAL_BATCH STEPS THREADS MODE

MODE is `ours` (on as many ranks as were launched), `alone` (as many processes without
communication), `in_step` (the same with a barrier after every step) or `plain` (Keras itself,
without `accelerate`, one process). Images are random and in memory.
RESULT receives the seconds of every step except the first few, averaged over processes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.bench.measuring.rates import IMAGE_SHAPE, NUM_CLASSES, NUM_WARM_UP_STEPS
from hvd_imgcls.bench.steps.workload import StepClock
from hvd_imgcls.config.models import CifarResNet, FastCnn
from hvd_imgcls.models import build_model

SECTIONS: dict[str, Any] = {
    "resnet20": CifarResNet(name="resnet20"),
    "fast_cnn": FastCnn(name="fast_cnn"),
}


def main(words: list[str]) -> None:
    """Trains for some steps and writes the duration of each."""
    result, name, precision, batch, steps, threads, mode = words
    ranks = distributed.start()
    distributed.devices.configure(
        intra_op_threads=int(threads), inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    model = build_model(SECTIONS[name], IMAGE_SHAPE, NUM_CLASSES)
    optimizer: Any = keras.optimizers.SGD(0.01, momentum=0.9)
    if mode != "plain":
        hvd.accelerate(model)
    if mode == "ours":
        optimizer = hvd.DistributedOptimizer(optimizer)
    model.compile(optimizer=optimizer, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    per_rank = int(batch) // ranks.topology.size
    random = np.random.default_rng(ranks.topology.rank)
    images = random.integers(0, 256, (per_rank, *IMAGE_SHAPE), dtype=np.uint8)
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[random.integers(0, NUM_CLASSES, per_rank)]
    callbacks: list[keras.callbacks.Callback] = [clock := StepClock()]
    if mode == "in_step":
        wait = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: ranks.barrier()
        )
        callbacks.insert(0, wait)
    ranks.barrier()
    model.fit(
        tf.data.Dataset.from_tensors((images, targets)).repeat(),
        steps_per_epoch=int(steps) + NUM_WARM_UP_STEPS,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    of_ranks = ranks.gather_json(np.diff(clock.ends)[NUM_WARM_UP_STEPS - 1 :].tolist())
    if ranks.topology.is_root:
        seconds = np.mean(of_ranks, axis=0).tolist()
        Path(result).write_text(json.dumps(seconds), encoding="utf-8")
    ranks.barrier()


if __name__ == "__main__":
    main(sys.argv[1:])
