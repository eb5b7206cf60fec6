"""Turns decoded images into training batches: targets, augmentation, weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.augment import Batch, make_augment
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.decoding.image_files import random_resized_crop_of
from hvd_imgcls.data.pipeline.example_weights import make_weigh
from hvd_imgcls.data.pipeline.targets import targets_of
from hvd_imgcls.data.sources.base import ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.plan import Plan, balanced_class_weights


def make_batch_assembler(
    source: ImageSource, config: RunConfig, plan: Plan, bad_example_log: BadExampleLog
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Returns a function that turns decoded images into a training batch.

    It takes images `[per_rank_batch_size, height, width, channels]` uint8, example numbers
    `[per_rank_batch_size]` int64, epoch (int64, one per image or a scalar) and weights
    `[per_rank_batch_size]` float32 as a pair, and optionally which images are good, bool. It
    returns the elements of `dataset.training_dataset`.

    Args:
        source: The images.
        config: Defines augmentation and class weights.
        plan: The plan of the run.
        bad_example_log: Where bad images are recorded.
    """
    first_index = 1 if random_resized_crop_of(config) else 0
    augment = make_augment(
        config.augment[first_index:],
        seed=plan.seed,
        image_shape=image_shape_of(source, config),
        first_index=first_index,
    )
    labels = tf.constant(source.labels("train"))
    targets = targets_of(config, plan.num_classes)
    weigh = make_weigh(config, bad_example_log)
    class_weights = _class_weights(source, config, plan)

    # AutoGraph would wrap exceptions that are raised during tracing.
    @tf.autograph.experimental.do_not_convert
    def finish(
        images: tf.Tensor,
        examples: tf.Tensor,
        others: tuple[tf.Tensor, tf.Tensor],
        is_good: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # All from one epoch: epochs consist of full batches.
        epoch, weights = tf.reshape(others[0], [-1])[0], others[1]
        own = tf.gather(labels, examples)
        batch = augment(
            Batch(images=images, targets=targets.begin(own), examples=examples, epoch=epoch)
        )
        if is_good is not None:
            weights *= weigh(is_good, examples, epoch)
        if class_weights is not None:
            # For a mixed image, the weighted mean of its classes' weights.
            weights *= targets.class_weight(batch.targets, own, class_weights)
        return batch.images, targets.finish(batch.targets, own), weights

    return finish


def _class_weights(source: ImageSource, config: RunConfig, plan: Plan) -> tf.Tensor | None:
    """Returns the weight of every class, `[num_classes]`, float32; None if all are 1.

    Computed from the labels of the whole training split, which every rank has.
    """
    if config.train.class_weights == "none":
        return None
    counts = np.bincount(source.labels("train"), minlength=plan.num_classes)
    return tf.constant(balanced_class_weights(counts.tolist()), tf.float32)
