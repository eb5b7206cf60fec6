"""A rank's blocks of the held-out split as a `tf.data` dataset."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.reading.class_sharding import evaluates_by_example
from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.decoding.blanks import make_loader
from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder
from hvd_imgcls.data.order.positions import rank_blocks
from hvd_imgcls.data.pipeline.dataset import PREFETCHED_BATCHES
from hvd_imgcls.data.pipeline.example_weights import readable
from hvd_imgcls.data.sources.base import ArraySource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.plan import EvaluationPlan

# AutoGraph would wrap errors that are raised while a function is traced.
_as_it_is = tf.autograph.experimental.do_not_convert


def evaluation_dataset(
    source: ImageSource,
    config: RunConfig,
    plan: EvaluationPlan,
    *,
    rank: int,
    size: int,
    num_threads: int,
) -> tf.data.Dataset:
    """Returns this rank's blocks of the held-out split.

    Args:
        source: The images.
        config: Defines the preprocessing.
        plan: Defines the evaluation blocks.
        rank: This rank.
        size: Number of ranks.
        num_threads: Threads of the dataset.

    Returns:
        A dataset of (images, targets, sample_weight) like `training_dataset`, with
        `plan.block_size` slots; padding and bad images have weight 0. The targets are class
        numbers, `[block_size]`, if the metrics are those of `by_example`. Its examples are those of
        `positions.rank_blocks`, in the same order.
    """
    num_classes = len(source.class_names)
    labels = tf.constant(source.labels("held_out"))
    _, blocks = rank_blocks(plan, rank=rank, size=size, division=source.division)
    examples = np.where(blocks < 0, _held_out_example(source, rank, size), blocks)

    @_as_it_is
    def finish(
        images: tf.Tensor, examples: tf.Tensor, block: tf.Tensor, is_good: tf.Tensor | bool = True
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        targets = tf.gather(labels, examples)
        if not evaluates_by_example(config):
            targets = tf.one_hot(targets, num_classes)
        return images, targets, tf.cast((block >= 0) & is_good, tf.float32)

    if isinstance(source, ArraySource):
        images, is_good = tf.constant(source.images("held_out")), readable(source, "held_out")
        dataset = tf.data.Dataset.from_tensor_slices((blocks, examples)).map(
            lambda block, chosen: finish(
                tf.gather(images, chosen),
                chosen,
                block,
                True if is_good is None else tf.gather(is_good, chosen),
            ),
            num_parallel_calls=num_threads,
            deterministic=True,
        )
    else:
        numbers, image_shape = examples.reshape(-1), image_shape_of(source, config)
        dataset = make_loader(config, image_shape)(
            tf.data.Dataset.from_tensor_slices((numbers, numbers, blocks.reshape(-1))),
            source,
            "held_out",
            make_evaluation_decoder(config, image_shape),
            batch_size=plan.block_size,
            num_threads=num_threads,
        ).map(finish)
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(on_own_threads(num_threads))


def _held_out_example(source: ImageSource, rank: int, size: int) -> int:
    """Returns an example that this rank can read, used for padding."""
    division = source.division
    if division is None:
        return 0
    return int(division.examples_of(rank, size, "held_out")[0])
