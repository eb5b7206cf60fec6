"""Steps with and without a checkpoint in every 50. Started by `bench checkpoint`.

python -m hvd_imgcls.bench.checkpoints.saving_arms RESULT.json PAIRS SIDE
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import hvd_imgcls.keras as hvd
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.config.models import ResNet
from hvd_imgcls.config.normalization import UnitRange
from hvd_imgcls.config.running.checkpoint import Checkpoint
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.keras.state.training_state import (
    MetricsState,
    OptimizerState,
    StatisticsState,
    WeightsState,
    prepare_copies_of,
)
from hvd_imgcls.models import build_model
from hvd_imgcls.plan.position import Position
from hvd_imgcls.state_registry import StateRegistry, of_the_root
from hvd_imgcls.workflows.progress.summary import peak_memory_bytes
from hvd_imgcls.workflows.training.saving.checkpointing import Checkpointing, Destination, Guards

EVERY_STEPS, BATCH_SIZE, NUM_CLASSES = 50, 4, 1000


def make_model(side: int) -> keras.Model:
    """Returns ResNet-50 with momentum, compiled: 25.6 million weights and as many momenta."""
    model = build_model(ResNet(name="resnet50"), (side, side, 3), NUM_CLASSES, UnitRange())
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(1e-3, momentum=0.9))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, jit_compile=False)
    return model


def checkpointing_of(model: keras.Model, directory: Path) -> tuple[Checkpointing, Position]:
    """Returns what saves the state of a model, and its position."""
    ranks, states, position = SingleProcessCollectives(), StateRegistry(), Position()
    states.register("position", position)
    states.register("weights", WeightsState(model))
    states.register("optimizer", OptimizerState(model))
    states.register("statistics", StatisticsState(model), combine=of_the_root)
    states.register("metrics", MetricsState(model), combine=of_the_root)
    # `main` saves when it is time to: once in a window, not after its last step as well.
    section = Checkpoint(every_minutes=None, every_steps=10**9)
    destination = Destination(directory, {}, [])
    return Checkpointing(
        section, states, ranks, destination, Guards.without(ranks.topology)
    ), position


def main(result_path: str, num_pairs: int, side: int) -> None:
    """Runs windows of 50 steps in turns, with and without a checkpoint in the first step."""
    hvd.init()
    model = make_model(side)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH_SIZE, side, side, 3)).astype(np.uint8)
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[:BATCH_SIZE]
    model.optimizer.build(model.trainable_variables)
    # As in a run, while the first step is compiled.
    prepare_copies_of(model)
    for _ in range(3):
        model.train_on_batch(images, targets)
    before = peak_memory_bytes()
    results: dict[str, Any] = {"without": [], "with": [], "pause": [], "memory": 0}
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as name:
        checkpointing, position = checkpointing_of(model, Path(name))

        def window(*, saves: bool) -> list[float]:
            seconds = []
            for step in range(EVERY_STEPS):
                began = time.perf_counter()
                model.train_on_batch(images, targets)
                if saves:
                    position.end_batch()
                    # In the first step of the window, so that all the writing is within it.
                    if step == 0:
                        checkpointing.end_training({})
                    else:
                        checkpointing.end_batch()
                seconds.append(time.perf_counter() - began)
            return seconds

        with checkpointing.phase("training", position, 0):
            for first, _ in alternating_order(num_pairs):
                for saves in (False, True) if first == 0 else (True, False):
                    seconds = window(saves=saves)
                    results["with" if saves else "without"].append(float(np.mean(seconds)))
                    if saves:
                        results["pause"].append(seconds[0] - float(np.median(seconds)))
                        checkpointing.end()
    results["memory"] = peak_memory_bytes() - before
    Path(result_path).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
