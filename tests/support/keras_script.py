"""A plain Keras script with our callback, as a user has it; tests kill it and start it again.

`python keras_script.py OPTIONS`, with OPTIONS a JSON object: see `DEFAULTS`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys

import numpy as np

import hvd_imgcls.keras as hvd

# isort: split
import keras
import tensorflow as tf

DEFAULTS = {
    "directory": "checkpoints",
    "global_batch": 8,
    "epochs": 4,
    "every_steps": 3,
    "steps_per_execution": 1,
    "passes": 1,
    "fingerprint": None,
    # How training ends when a batch begins: [rank, signal, epoch, batch]; "raise" on all ranks.
    "end": None,
    "dataset": "of epoch",
    "early_stopping": False,
    "declares_input": True,
}
NUM_EXAMPLES = 48


class CrashError(Exception):
    pass


class End(keras.callbacks.Callback):
    """Ends training at the beginning of a batch: by a signal to this rank, or an exception."""

    is_collective = True

    def __init__(self, wish):
        super().__init__()
        self.wish, self.epoch = wish, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if not self.wish or self.wish[2:] != [self.epoch, batch]:
            return
        rank, what = self.wish[:2]
        if what == "raise":
            raise CrashError
        if rank == hvd.rank():
            os.kill(os.getpid(), getattr(signal, what))

    def state(self):
        return {}

    def restore(self, state):
        assert state == {}


def make_model(options):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = [keras.Input((4,))] if options["declares_input"] else []
    model = keras.Sequential(
        [
            *inputs,
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.Adam(0.01), backward_passes_per_step=options["passes"]
    )
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=options["steps_per_execution"],
    )
    return model


def make_data(options, checkpoint, steps_per_epoch):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32)
    y = generator.integers(0, 3, NUM_EXAMPLES)
    examples = tf.data.Dataset.from_tensor_slices((x, y))
    per_rank = options["global_batch"] // hvd.size()

    def of_epoch(epoch):
        mine = examples.shuffle(NUM_EXAMPLES, seed=epoch).shard(hvd.size(), hvd.rank())
        return mine.batch(per_rank, drop_remainder=True)

    validation = (x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()])
    if options["dataset"] == "of epoch":
        return checkpoint.dataset(of_epoch, steps_per_epoch), validation
    if options["dataset"] == "without a seed":
        batches = examples.shuffle(NUM_EXAMPLES).batch(per_rank)
        return checkpoint.dataset(lambda epoch: batches, steps_per_epoch), validation
    if options["dataset"] == "other":
        return checkpoint.dataset(lambda epoch: of_epoch(epoch + 1), steps_per_epoch), validation
    if options["dataset"] == "own":
        start = checkpoint.position
        whole = tf.data.Dataset.range(100).flat_map(of_epoch)
        return whole.skip(start.epoch * steps_per_epoch + start.batch).repeat(), validation
    return of_epoch(0).repeat() if options["dataset"] == "ignorant" else of_epoch(0), validation


def train(options):
    """Trains, or continues, and returns what tells two trainings apart.

    Args:
        options: Some of `DEFAULTS`.
    """
    options = DEFAULTS | options
    hvd.init()
    checkpoint = hvd.callbacks.Checkpoint(
        options["directory"],
        every_steps=options["every_steps"],
        every_minutes=None,
        fingerprint=options["fingerprint"],
    )
    model = make_model(options)
    steps_per_epoch = NUM_EXAMPLES // options["global_batch"]
    data, validation = make_data(options, checkpoint, steps_per_epoch)
    patience = 1 if options["early_stopping"] else 100
    callbacks = hvd.callbacks.rank_safe(
        [
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
            End(options["end"]),
            hvd.callbacks.LearningRateWarmupCallback(
                0.01, warmup_epochs=2, steps_per_epoch=steps_per_epoch
            ),
            keras.callbacks.EarlyStopping(
                "val_loss",
                patience=patience,
                restore_best_weights=True,
                min_delta=10.0 if options["early_stopping"] else 0.0,
            ),
            keras.callbacks.ReduceLROnPlateau("val_accuracy", patience=1),
            checkpoint,
        ]
    )
    history = model.fit(
        data,
        steps_per_epoch=steps_per_epoch,
        epochs=options["epochs"],
        validation_data=validation,
        validation_batch_size=8,
        callbacks=callbacks,
        verbose=0,
    )
    return {
        "start": [checkpoint.position.epoch, checkpoint.position.batch, checkpoint.position.step],
        "weights": [digest(v) for v in model.variables if "seed" not in v.name],
        "numbers": [np.asarray(v).tolist() for v in model.trainable_variables],
        "random": [digest(v) for v in model.variables if "seed" in v.name],
        "optimizer": [digest(v) for v in model.optimizer.variables],
        "epochs": history.epoch,
        "history": history.history,
    }


def digest(variable):
    return hashlib.sha256(np.asarray(variable).tobytes()).hexdigest()[:16]


def main(options):
    """Writes the result of `train` to `result-RANK.json`."""
    result = train(options)
    path = f"{options['result']}-{hvd.rank()}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
