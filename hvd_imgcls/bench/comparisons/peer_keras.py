"""The arms of `bench peers` that train with Keras 2 (tf-keras) on the installed TensorFlow.

    python -m hvd_imgcls.bench.comparisons.peer_keras \
        RESULT GLOBAL_BATCH STEPS THREADS horovod|multi_worker

`horovod`: Horovod's own Keras module, used as in its examples. `multi_worker`:
`tf.distribute.MultiWorkerMirroredStrategy`, which Keras 3 does not support. Requires
`TF_USE_LEGACY_KERAS=1` and tf-keras on the path. Network, images and timing are those of
`training_rate`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hvd_imgcls.bench.measuring.rates import IMAGE_SHAPE, NUM_CLASSES, NUM_WARM_UP_STEPS

layers = tf_keras.layers


def build_resnet20(weight_decay: float = 0.0) -> Any:
    """Returns He et al. 2015's network for small images, with shortcuts of option A.

    Args:
        weight_decay: Factor of the squared kernels in the loss, at least 0.
    """
    images = tf_keras.Input(IMAGE_SHAPE)
    decay = tf_keras.regularizers.L2(weight_decay) if weight_decay else None
    features = _convolution(layers.Rescaling(1 / 255)(images), 16, 1, decay)
    features = layers.ReLU()(features)
    for stage, num_filters in enumerate((16, 32, 64)):
        for number in range(3):
            strides = 2 if stage and not number else 1
            branch = layers.ReLU()(_convolution(features, num_filters, strides, decay))
            branch = _convolution(branch, num_filters, 1, decay)
            if strides == 2:
                new = num_filters // 4
                features = layers.MaxPooling2D(1, strides=2)(features)
                features = tf.pad(features, [[0, 0], [0, 0], [0, 0], [new, new]])
            features = layers.ReLU()(layers.Add()([branch, features]))
    features = layers.GlobalAveragePooling2D()(features)
    return tf_keras.Model(images, layers.Dense(NUM_CLASSES, kernel_regularizer=decay)(features))


def _convolution(features: Any, num_filters: int, strides: int, decay: Any) -> Any:
    features = layers.Conv2D(
        num_filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
    )(features)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(features)


class _Clock(tf_keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Records the time."""
        self.ends.append(time.perf_counter())


def make_dataset(batch: int, seed: int) -> tf.data.Dataset:
    """Returns an infinite dataset of one random batch."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (batch, *IMAGE_SHAPE), dtype=np.uint8)
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[random.integers(0, NUM_CLASSES, batch)]
    return tf.data.Dataset.from_tensors((images, targets)).repeat()


def train_with_horovod(global_batch: int, steps: int) -> tuple[bool, list[float]]:
    """Returns whether this is the root, and when its steps ended."""
    import horovod.tensorflow.keras as hvd  # noqa: TID251 - the baseline

    hvd.init()
    optimizer = hvd.DistributedOptimizer(tf_keras.optimizers.SGD(0.01, momentum=0.9))
    model = build_resnet20()
    model.compile(
        optimizer=optimizer, loss=tf_keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    clock = _Clock()
    model.fit(
        make_dataset(global_batch // hvd.size(), hvd.rank()),
        steps_per_epoch=steps + NUM_WARM_UP_STEPS,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), clock],
        verbose=0,
    )
    return hvd.rank() == 0, clock.ends


def train_with_workers(global_batch: int, steps: int) -> tuple[bool, list[float]]:
    """Returns whether this is the first worker, and when its steps ended."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = build_resnet20()
        model.compile(
            optimizer=tf_keras.optimizers.SGD(0.01, momentum=0.9),
            loss=tf_keras.losses.CategoricalCrossentropy(from_logits=True),
        )
    number = int(json.loads(os.environ["TF_CONFIG"])["task"]["index"])
    per_worker = global_batch // strategy.num_replicas_in_sync
    distributed = strategy.distribute_datasets_from_function(
        lambda _: make_dataset(per_worker, number)
    )
    clock = _Clock()
    model.fit(distributed, steps_per_epoch=steps + NUM_WARM_UP_STEPS, callbacks=[clock], verbose=0)
    return number == 0, clock.ends


def main(words: list[str]) -> None:
    """Trains for some steps; the first process writes the duration of each."""
    result, batch, steps, threads, way = words
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(2)
    train = {"horovod": train_with_horovod, "multi_worker": train_with_workers}[way]
    is_first, ends = train(int(batch), int(steps))
    if is_first:
        seconds = np.diff(ends)[NUM_WARM_UP_STEPS - 1 :].tolist()
        Path(result).write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
