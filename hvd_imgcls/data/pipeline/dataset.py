"""A rank's part of the images as `tf.data` datasets: order, reading, augmentation, prefetching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.decoding.blanks import make_contents_decoder, make_loader
from hvd_imgcls.data.decoding.image_files import make_training_decoder
from hvd_imgcls.data.order.epoch_order import Numbers
from hvd_imgcls.data.order.positions import crop_key, rank_rows
from hvd_imgcls.data.pipeline.allocated_rows import allocated_rows, joined, keyed_slots
from hvd_imgcls.data.pipeline.batch_assembly import make_batch_assembler
from hvd_imgcls.data.pipeline.example_weights import readable
from hvd_imgcls.data.placement.exchange import Exchange, exchanged_records
from hvd_imgcls.data.sources.base import ArraySource, EncodedSource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.balancing import allocation_unit_of

PREFETCHED_BATCHES = 2

# From an epoch to example numbers and weights, `[batches, per_rank_batch_size]`.
RowsOf = Callable[[np.int64], tuple[Numbers, npt.NDArray[np.float32]]]

# AutoGraph would wrap exceptions that are raised during tracing.
_as_it_is = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where in a run a dataset starts, and how the batches are divided from there on.

    Starting at any position costs nothing.

    Attributes:
        epoch: 0-based.
        step: Completed steps of the epoch.
        passes: Completed backward passes of the next step.
        allocation: How global batches are divided over ranks, if not equally; batch sizes then
            change from step to step.
    """

    epoch: int = 0
    step: int = 0
    passes: int = 0
    allocation: Allocation | None = None

    def num_batches(self, plan: Plan) -> int:
        """Returns the number of batches before it, in the whole run."""
        step = self.epoch * plan.steps_per_epoch + self.step
        return step * plan.gradient_accumulation_steps + self.passes


def training_dataset(
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    *,
    rank: int,
    start: Start = Start(),
    collectives: distributed.Collectives | None = None,
    bad_example_log: BadExampleLog | None = None,
) -> tf.data.Dataset:
    """Returns this rank's batches from a position to the end of the run.

    Collective if images are exchanged between hosts: every rank must read the same number of
    batches.

    Args:
        source: The images.
        config: Defines preprocessing and augmentation.
        plan: The plan of the run.
        rank: This rank.
        start: Position to start from.
        collectives: Communication between the ranks, for images from other hosts.
        bad_example_log: Where images excluded by `data.bad_examples: quarantine` are recorded.

    Returns:
        A dataset of (images `[per_rank_batch_size, height, width, channels]` uint8, targets
        `[per_rank_batch_size, num_classes]` float32, with `model.head: class_sharded` those of
        `targets.FewClasses`, sample_weight `[per_rank_batch_size]` float32: 0 for padding and bad
        images, else that of `train.class_weights`). There are `gradient_accumulation_steps` batches
        per step.
    """

    def rows_of(epoch: np.int64) -> tuple[Numbers, npt.NDArray[np.float32]]:
        is_first = epoch == start.epoch
        rows = rank_rows(
            plan,
            rank=rank,
            epoch=int(epoch),
            start_step=start.step if is_first else 0,
            division=source.division,
        )
        passes = start.passes if is_first else 0
        return rows.examples[passes:], rows.weights[passes:]

    records = exchanged_records(source, plan.size)
    if start.allocation is not None:
        allocation, first_batch = start.allocation, start.num_batches(plan)
        rows = allocated_rows(plan, allocation, rank=rank, first_batch=first_batch)
        dataset = _from_allocated_rows(rows, source, config, plan, bad_example_log)
    elif records is None or isinstance(source, ArraySource):
        dataset = _from_rows(rows_of, start.epoch, source, config, plan, bad_example_log)
    else:
        exchange = Exchange(records, plan, rank, collectives or distributed.current())
        contents = exchange.contents(start.epoch, start.step)
        contents = contents.skip(start.passes * plan.per_rank_batch_size)
        decoded = _decoded_contents(contents, source, config, plan)
        dataset = decoded.map(_assembler(source, config, plan, bad_example_log))
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(on_own_threads(plan.threads.data))


def chosen_dataset(
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    *,
    first_epoch: int,
    choose_rows: Callable[[int], Numbers],
) -> tf.data.Dataset:
    """Returns batches of selected examples as in training, from an epoch to the end of the run.

    Args:
        source: The images.
        config: Defines preprocessing and augmentation.
        plan: The plan of the run.
        first_epoch: 0-based.
        choose_rows: Maps an epoch to example numbers `[batches, per_rank_batch_size]`.

    Returns:
        A dataset like `training_dataset`; before class weights, all weights are 1.
    """

    def rows_of(epoch: np.int64) -> tuple[Numbers, npt.NDArray[np.float32]]:
        chosen = choose_rows(int(epoch))
        return chosen, np.ones(chosen.shape, np.float32)

    dataset = _from_rows(rows_of, first_epoch, source, config, plan)
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(on_own_threads(plan.threads.data))


def _from_rows(
    rows_of: RowsOf,
    first_epoch: int,
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    bad_example_log: BadExampleLog | None = None,
) -> tf.data.Dataset:
    """Returns the assembled batches of rows of example numbers."""
    # Whole batches of example numbers: one by one they cost more than reading small images.
    rows = tf.data.Dataset.range(first_epoch, plan.num_epochs).flat_map(
        _make_batches_of(rows_of, plan.per_rank_batch_size)
    )
    assemble = _assembler(source, config, plan, bad_example_log)
    if isinstance(source, ArraySource):
        return rows.map(_make_gather(source, assemble), **_parallel(plan.threads.data))
    return _decoded(rows, source, config, plan).map(assemble)


def _from_allocated_rows(
    rows: tf.data.Dataset,
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    bad_example_log: BadExampleLog | None,
) -> tf.data.Dataset:
    """Returns the assembled batches of rows of changing lengths."""
    assemble = _assembler(source, config, plan, bad_example_log)
    if isinstance(source, ArraySource):
        return rows.map(_make_gather(source, assemble), **_parallel(plan.threads.data))
    slots = rows.flat_map(
        _as_it_is(
            lambda row, epoch, weights: keyed_slots(row, _crop_key(plan, epoch), epoch, weights)
        )
    )
    unit = allocation_unit_of(config, plan) // plan.gradient_accumulation_steps
    return joined(_loaded(slots, source, config, plan, unit), unit).map(assemble)


def _assembler(
    source: ImageSource, config: RunConfig, plan: Plan, bad_example_log: BadExampleLog | None
) -> Callable[..., Any]:
    return make_batch_assembler(source, config, plan, bad_example_log or BadExampleLog())


def _make_gather(source: ArraySource, finish: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function from a row to an assembled batch, for images in memory."""
    images, is_good = tf.constant(source.images("train")), readable(source, "train")

    def gather(chosen: tf.Tensor, epoch: tf.Tensor, weights: tf.Tensor) -> Any:
        good = None if is_good is None else tf.gather(is_good, chosen)
        return finish(tf.gather(images, chosen), chosen, (epoch, weights), good)

    return _as_it_is(gather)


def _decoded(
    rows: tf.data.Dataset, source: EncodedSource, config: RunConfig, plan: Plan
) -> tf.data.Dataset:
    """Returns the batches of rows, read and decoded."""
    slots = rows.flat_map(_make_slots_of(plan))
    return _loaded(slots, source, config, plan, plan.per_rank_batch_size)


def _loaded(
    slots: tf.data.Dataset, source: EncodedSource, config: RunConfig, plan: Plan, batch_size: int
) -> tf.data.Dataset:
    """Returns the batches of slots, read and decoded."""
    image_shape = image_shape_of(source, config)
    return make_loader(config, image_shape)(
        slots,
        source,
        "train",
        make_training_decoder(config, image_shape),
        batch_size=batch_size,
        num_threads=plan.threads.data,
    )


def _decoded_contents(
    contents: tf.data.Dataset, source: EncodedSource, config: RunConfig, plan: Plan
) -> tf.data.Dataset:
    """Returns the decoded batches of files that came from other hosts."""
    image_shape = image_shape_of(source, config)
    keyed = contents.map(
        lambda content, example, weight, epoch: (
            content,
            example,
            _crop_key(plan, epoch),
            (epoch, weight),
        )
    )
    return make_contents_decoder(config, image_shape)(
        keyed,
        make_training_decoder(config, image_shape),
        batch_size=plan.per_rank_batch_size,
        num_threads=plan.threads.data,
    )


def _make_batches_of(rows_of: RowsOf, batch_size: int) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """Returns a function from an epoch to its batches: (examples, epoch, weights) for each."""

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        rows, weights = tf.numpy_function(rows_of, [epoch], (tf.int64, tf.float32), stateful=False)
        rows = tf.ensure_shape(rows, [None, batch_size])
        # A column, not a `map` over the batches, which took about 50 us per batch.
        epochs = tf.fill(tf.shape(rows)[:1], epoch)
        weights = tf.ensure_shape(weights, [None, batch_size])
        return tf.data.Dataset.from_tensor_slices((rows, epochs, weights))

    return batches_of


def _make_slots_of(plan: Plan) -> Callable[..., tf.data.Dataset]:
    """Returns a function from a batch to its slots: (example, key, (epoch, weight)) for each."""
    shape = [plan.per_rank_batch_size]

    def slots_of(row: tf.Tensor, epoch: tf.Tensor, weights: tf.Tensor) -> tf.data.Dataset:
        columns = row, tf.fill(shape, _crop_key(plan, epoch)), (tf.fill(shape, epoch), weights)
        return tf.data.Dataset.from_tensor_slices(columns)

    return slots_of


def _crop_key(plan: Plan, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the random key of an epoch's random resized crops, scalar, int64."""
    key = tf.numpy_function(
        lambda of: np.int64(crop_key(plan, int(of))), [epoch], tf.int64, stateful=False
    )
    return tf.ensure_shape(key, [])


def _parallel(num_threads: int) -> dict[str, Any]:
    """Returns the arguments of a deterministic `map` with `num_threads` parallel calls."""
    if num_threads == 1:
        # `prefetch` already runs in parallel to training: no second thread to wait for.
        return {}
    return {"num_parallel_calls": num_threads, "deterministic": True}
