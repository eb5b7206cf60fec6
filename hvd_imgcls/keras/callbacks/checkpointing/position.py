"""The position from which the data of `fit` must begin, and a dataset that begins there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from hvd_imgcls.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DataPosition:
    """Where the data of a `fit` begin that may be continued.

    Attributes:
        epoch: Completed epochs, and so the number of the current one, 0-based.
        batch: Batches of this rank that are completed in that epoch.
        step: Completed updates since the beginning.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0


def dataset_from(
    position: DataPosition,
    dataset_of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
    steps_per_epoch: int,
) -> tf.data.Dataset:
    """Returns the batches from a position on, through all later epochs, without an end.

    Args:
        position: The position.
        dataset_of_epoch: From the epoch, a scalar int64 tensor, to its batches. Called once.
        steps_per_epoch: Batches per epoch; others are left out.

    Raises:
        ConfigError: If `dataset_of_epoch` does not return a dataset.
    """

    def rest(epoch: tf.Tensor) -> tf.data.Dataset:
        try:
            batches = dataset_of_epoch(epoch)
        except Exception as error:
            error.add_note(
                "dataset_of_epoch is called once, with the epoch as a tensor: use TensorFlow's "
                "functions, such as .shuffle(seed=epoch), or build the dataset yourself from "
                "checkpoint.position"
            )
            raise
        if not isinstance(batches, tf.data.Dataset):
            raise ConfigError(
                "dataset_of_epoch",
                got=type(batches).__name__,
                expected="a function from the epoch to a tf.data.Dataset of its batches",
                fix="return a tf.data.Dataset",
            )
        # An epoch that is too short would shift all later ones: TensorFlow raises an error.
        batches = batches.take(steps_per_epoch).apply(_of_cardinality(steps_per_epoch))
        is_first = tf.equal(epoch, position.epoch)
        return batches.skip(tf.where(is_first, tf.constant(position.batch, tf.int64), 0))

    epochs = tf.data.Dataset.range(position.epoch, tf.int64.max)
    batches = epochs.flat_map(rest).apply(_of_cardinality(tf.data.INFINITE_CARDINALITY))
    return batches.prefetch(tf.data.AUTOTUNE)


def digests_of_first_batch(
    dataset_of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
) -> tuple[str, str]:
    """Returns two digests of the first batch of the first epoch, which is read twice.

    They differ if the order does not depend on the epoch alone.

    Args:
        dataset_of_epoch: As for `dataset_from`.
    """
    first_epoch = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64))
    first = first_epoch.flat_map(dataset_of_epoch).take(1)
    return _digest(first), _digest(first)


def _digest(dataset: tf.data.Dataset) -> str:
    digest = hashlib.sha256()
    for batch in dataset:
        for tensor in tf.nest.flatten(batch, expand_composites=True):
            digest.update(tf.io.serialize_tensor(tensor).numpy())
    return digest.hexdigest()


def _of_cardinality(number: int) -> Any:
    return tf.data.experimental.assert_cardinality(number)
