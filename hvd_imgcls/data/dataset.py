"""A rank's part of the images as `tf.data` datasets: order, read, augment, prefetch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvd_imgcls.config.augmentations import Augmentation
from hvd_imgcls.data import order
from hvd_imgcls.data.augment import Batch, make_augment
from hvd_imgcls.data.source import ImageSource
from hvd_imgcls.plan import EvaluationPlan, Plan

PREFETCHED_BATCHES = 2


def training_dataset(
    source: ImageSource,
    augmentations: Sequence[Augmentation],
    plan: Plan,
    *,
    rank: int,
    start_epoch: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Returns this rank's batches from a position to the end of the run.

    Args:
        source: The images.
        augmentations: Random changes of the images, in order.
        plan: The plan of the run.
        rank: This rank.
        start_epoch: First epoch, 0-based.
        start_step: First step in it, 0-based. Starting there costs nothing.

    Returns:
        A dataset of (images `[per_rank_batch_size, height, width, channels]` uint8, targets
        `[per_rank_batch_size, num_classes]` float32, sample_weight `[per_rank_batch_size]`
        float32). There are `gradient_accumulation_steps` batches per step.
    """
    read = source.make_reader("train")
    augment = make_augment(augmentations, seed=plan.seed, image_shape=source.image_shape)

    def rows_of(epoch: np.int64) -> order.Numbers:
        rows = order.rank_batches(
            order.epoch_order(plan.num_train_examples, plan.seed, int(epoch)),
            global_batch_size=plan.global_batch_size,
            gradient_accumulation_steps=plan.gradient_accumulation_steps,
            rank=rank,
            size=plan.size,
            start_step=start_step if epoch == start_epoch else 0,
        )
        # `num_steps` may end the run within its last epoch.
        first_step = epoch * plan.steps_per_epoch + (start_step if epoch == start_epoch else 0)
        num_rows = (plan.num_steps - first_step) * plan.gradient_accumulation_steps
        return rows[:num_rows]

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(rows_of, [epoch], tf.int64, stateful=False)
        rows = tf.ensure_shape(rows, [None, plan.per_rank_batch_size])
        return tf.data.Dataset.from_tensor_slices(rows).map(lambda row: (epoch, row))

    def load(epoch: tf.Tensor, examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels = read(examples)
        targets = tf.one_hot(labels, plan.num_classes)
        batch = augment(Batch(images=images, targets=targets, examples=examples, epoch=epoch))
        return batch.images, batch.targets, tf.ones_like(targets[:, 0])

    epochs = tf.data.Dataset.range(start_epoch, plan.num_epochs)
    dataset = epochs.flat_map(batches_of)
    dataset = dataset.map(load, num_parallel_calls=plan.threads.data, deterministic=True)
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(_options(plan.threads.data))


def evaluation_dataset(
    source: ImageSource, plan: EvaluationPlan, *, rank: int, size: int, num_threads: int
) -> tf.data.Dataset:
    """Returns this rank's blocks of the held-out split.

    Args:
        source: The images.
        plan: How the split is evaluated.
        rank: This rank.
        size: Number of ranks.
        num_threads: Threads of the dataset.

    Returns:
        A dataset of (images, targets, sample_weight) like `training_dataset`, with
        `plan.block_size` slots; padding has weight 0. Its examples are, in this order,
        those of `order.rank_blocks`.
    """
    read = source.make_reader("held_out")
    num_classes = len(source.class_names)
    blocks = order.rank_blocks(plan.num_examples, block_size=plan.block_size, rank=rank, size=size)

    def load(block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Any example will do as padding: it has no weight.
        images, labels = read(tf.maximum(block, 0))
        return images, tf.one_hot(labels, num_classes), tf.cast(block >= 0, tf.float32)

    dataset = tf.data.Dataset.from_tensor_slices(blocks)
    dataset = dataset.map(load, num_parallel_calls=num_threads, deterministic=True)
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(_options(num_threads))


def _options(num_threads: int) -> tf.data.Options:
    """Returns options that keep a dataset to its threads and its order."""
    options = tf.data.Options()
    options.deterministic = True
    # Its own threads: TensorFlow's shared pool has one per core in every rank.
    options.threading.private_threadpool_size = num_threads
    options.autotune.enabled = False
    return options
