"""A rank's batches if ranks have different numbers of examples."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.data.order.epoch_order import Numbers
from hvd_imgcls.data.order.positions import epoch_slots, filled, slot_weights
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation


def allocated_rows(
    plan: Plan, allocation: Allocation, *, rank: int, first_batch: int
) -> tf.data.Dataset:
    """Returns the example numbers of a rank's batches, from one to the end of the run.

    Args:
        plan: The plan of the run.
        allocation: How global batches are divided. A batch is final when it is taken.
        rank: This rank.
        first_batch: Number of the first batch in the run, 0-based.

    Returns:
        A dataset of (example numbers `[batch]` int64, epoch int64, weights `[batch]` float32).
    """
    num_passes = plan.gradient_accumulation_steps

    # An epoch's order of a million examples is computed once.
    @functools.lru_cache(maxsize=1)
    def slots_of(epoch: int) -> Numbers:
        return epoch_slots(plan, epoch)

    def row_of(batch: np.int64) -> tuple[Numbers, np.int64, np.ndarray]:
        step, of_step = divmod(int(batch), num_passes)
        epoch, step_in_epoch = divmod(step, plan.steps_per_epoch)
        slots = slots_of(epoch)[step_in_epoch : step_in_epoch + 1]
        part = allocation.take(step, rank)
        length = (part.stop - part.start) // num_passes
        own = slice(part.start + of_step * length, part.start + (of_step + 1) * length)
        return filled(slots)[0, own], np.int64(epoch), slot_weights(slots)[0, own]

    def take(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dtypes = tf.int64, tf.int64, tf.float32
        examples, epoch, weights = tf.numpy_function(row_of, [batch], dtypes)
        return (
            tf.ensure_shape(examples, [None]),
            tf.ensure_shape(epoch, []),
            tf.ensure_shape(weights, [None]),
        )

    # Not in parallel: the batches are taken in their order.
    return tf.data.Dataset.range(first_batch, plan.num_steps * num_passes).map(take)


def joined(pieces: tf.data.Dataset, unit: int) -> tf.data.Dataset:
    """Joins decoded pieces of `unit` examples to batches, in their order.

    Args:
        pieces: Dataset of (images, example numbers, (epoch, weight, batch size), ...), each
            `[unit, ...]`. The pieces of a batch follow each other.
        unit: Examples of a piece; it divides every batch size.
    """

    def join(_: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        return window.batch(tf.int64.max).map(
            lambda *parts: tf.nest.map_structure(
                lambda part: tf.reshape(part, tf.concat([[-1], tf.shape(part)[2:]], 0)), parts
            )
        )

    return pieces.group_by_window(
        key_func=lambda *parts: parts[2][2][0],
        reduce_func=join,
        window_size_func=lambda batch_size: batch_size // unit,
    )


def keyed_slots(row: tf.Tensor, key: Any, epoch: tf.Tensor, weights: tf.Tensor) -> tf.data.Dataset:
    """Returns the slots of a batch: (example, key, (epoch, weight, batch size)) for each.

    Args:
        row: Example numbers, `[batch]`.
        key: Random key of the crops, scalar.
        epoch: 0-based, scalar.
        weights: `[batch]`.
    """
    shape = tf.shape(row)
    others = tf.fill(shape, epoch), weights, tf.fill(shape, tf.size(row, tf.int64))
    return tf.data.Dataset.from_tensor_slices((row, tf.fill(shape, key), others))
