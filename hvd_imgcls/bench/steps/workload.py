"""The training step that the benchmarks measure: a small CNN on random images in memory."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 10


def make_model(optimizer: Any, weights: list[np.ndarray] | None = None) -> keras.Model:
    """Returns a compiled CNN with 97,146 weights: two convolutions and two dense layers."""
    model = keras.Sequential(
        [
            keras.Input(IMAGE_SHAPE),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(176, activation="relu"),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    if weights is not None:
        model.set_weights(weights)
    return model


def make_batches(batch_size: int) -> tf.data.Dataset:
    """Returns an infinite dataset of one random batch, so that data cost no time."""
    random = np.random.default_rng(0)
    images = random.normal(size=(batch_size, *IMAGE_SHAPE)).astype(np.float32)
    labels = random.integers(0, NUM_CLASSES, batch_size)
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


class StepClock(keras.callbacks.Callback):
    """Records the end of every batch, in seconds of `time.perf_counter`, in `ends`."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Records the time."""
        self.ends.append(time.perf_counter())


def seconds_per_step(model: keras.Model, batches: tf.data.Dataset, steps: int) -> float:
    """Returns the mean time of a `fit` step, without the fixed costs of `fit`."""
    clock = StepClock()
    model.fit(batches, steps_per_epoch=steps + 1, shuffle=False, verbose=0, callbacks=[clock])
    return (clock.ends[-1] - clock.ends[0]) / steps


def batch_size_for(target_seconds: float) -> int:
    """Returns the batch size whose plain Keras step takes about `target_seconds` here.

    Fits a line to measurements of two batch sizes, because the overhead of a step does not depend
    on the batch size.
    """
    times = {}
    for batch_size in (8, 64):
        model = make_model(keras.optimizers.SGD(1e-3, momentum=0.9))
        seconds_per_step(model, make_batches(batch_size), 20)
        times[batch_size] = min(
            seconds_per_step(model, make_batches(batch_size), 50) for _ in range(2)
        )
    slope = (times[64] - times[8]) / 56
    wanted = 8 + (target_seconds - times[8]) / slope
    return max(1, round(wanted))
