"""The baseline of `bench time-to-accuracy`: a plain script in the style of Horovod's examples.

    python -m hvd_imgcls.bench.comparisons.plain_cifar RESULT FOLDER TARGET EPOCHS THREADS

ResNet-20 with tf-keras and Horovod's own Keras module, with the settings of its paper: SGD with
momentum 0.9, learning rate 0.1 for a batch of 128, divided by ten after half and again after
three quarters of the epochs, weight decay 1e-4, images shifted by up to 4 pixels and flipped
(He et al. 2015, arXiv:1512.03385, section 4.2). Each rank evaluates the whole test set after every
epoch, and the script ends at the target accuracy. Requires `TF_USE_LEGACY_KERAS=1`, tf-keras on the
path and CIFAR-10 as image files in FOLDER/train/<class> and FOLDER/test/<class>.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hvd_imgcls.bench.comparisons.peer_keras import build_resnet20

GLOBAL_BATCH, LEARNING_RATE, WEIGHT_DECAY, PADDING = 128, 0.1, 1e-4, 4


def read_images(folder: Path) -> tuple[Any, Any]:
    """Returns images `[examples, 32, 32, 3]` and labels `[examples]`, both uint8."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(str(path) for path in (folder / name).iterdir())
        paths += files
        labels += [label] * len(files)
    decoded = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    )
    return np.stack(list(decoded.as_numpy_iterator())), np.array(labels, np.uint8)


def training_dataset(images: Any, labels: Any, rank: int, size: int) -> tf.data.Dataset:
    """Returns a rank's shard of the images, shuffled, shifted and flipped, infinite."""
    shape = images.shape[1:]
    padding = [[PADDING, PADDING], [PADDING, PADDING], [0, 0]]

    def augment(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.image.random_crop(tf.pad(image, padding), shape)
        return tf.image.random_flip_left_right(image), label

    mine = tf.data.Dataset.from_tensor_slices((images[rank::size], labels[rank::size]))
    batches = mine.shuffle(len(images)).repeat().map(augment).batch(GLOBAL_BATCH // size)
    return batches.prefetch(tf.data.AUTOTUNE)


class _UntilTarget(tf_keras.callbacks.Callback):
    """Records accuracies and times, and stops training at the target accuracy.

    The moving statistics of batch normalisation differ between ranks, so their mean accuracy
    counts. (Horovod's MetricAverageCallback mistakes the calling Keras for Keras 3, and fails.)

    Args:
        target: Accuracy, 0 to 1.
        average: Returns the mean of a number over ranks.
    """

    def __init__(self, target: float, average: Callable[[float], float]) -> None:
        super().__init__()
        self.target = target
        self.average = average
        self.accuracies: list[float] = []
        self.times: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Records one epoch."""
        accuracy = self.average(float((logs or {})["val_accuracy"]))
        self.accuracies.append(accuracy)
        self.times.append(time.time())
        if accuracy >= self.target:
            self.model.stop_training = True


def train(folder: Path, target: float, num_epochs: int) -> tuple[bool, _UntilTarget]:
    """Trains until the target or the last epoch; returns whether this is the root, and records."""
    import horovod.tensorflow.keras as hvd  # noqa: TID251 - the baseline

    hvd.init()
    images, labels = read_images(folder / "train")
    steps = len(images) // GLOBAL_BATCH
    rate = tf_keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps * num_epochs // 2, steps * num_epochs * 3 // 4],
        [LEARNING_RATE, LEARNING_RATE / 10, LEARNING_RATE / 100],
    )
    model = build_resnet20(WEIGHT_DECAY)
    model.compile(
        optimizer=hvd.DistributedOptimizer(tf_keras.optimizers.SGD(rate, momentum=0.9)),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    notes = _UntilTarget(target, lambda number: float(hvd.allreduce(tf.constant(number))))
    model.fit(
        training_dataset(images, labels, hvd.rank(), hvd.size()),
        epochs=num_epochs,
        steps_per_epoch=steps,
        validation_data=tf.data.Dataset.from_tensor_slices(read_images(folder / "test")).batch(500),
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), notes],
        verbose=2 if hvd.rank() == 0 else 0,
    )
    return hvd.rank() == 0, notes


def main(words: list[str]) -> None:
    """Trains; the root writes accuracies and times."""
    result, folder, target, epochs, threads = words
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(2)
    is_root, notes = train(Path(folder), float(target), int(epochs))
    if is_root:
        text = json.dumps({"accuracies": notes.accuracies, "times": notes.times})
        Path(result).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
