"""Single examples as the network sees them in evaluation and in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.bad_examples.unreadable import find_unreadable
from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.decoding.image_files import (
    Decode,
    load_images,
    make_evaluation_decoder,
    make_training_decoder,
)
from hvd_imgcls.data.order.epoch_order import Numbers
from hvd_imgcls.data.order.positions import Rows, crop_key, rank_rows
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.pipeline.dataset import chosen_dataset, training_dataset
from hvd_imgcls.data.pipeline.targets import targets_of
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.plan import Plan

_NO_PLACE = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPreview:
    """An example as the network receives it in one epoch of training.

    Attributes:
        image: `[height, width, channels]`, uint8.
        target: `[num_classes]`, float32.
    """

    image: npt.NDArray[np.uint8]
    target: npt.NDArray[np.float32]


def evaluation_images(
    source: ImageSource,
    config: RunConfig,
    split: Split,
    examples: Sequence[int],
    *,
    num_threads: int,
) -> npt.NDArray[np.uint8]:
    """Returns decoded and centre-cropped examples, `[examples, height, width, channels]`.

    Args:
        source: The images.
        config: Defines the preprocessing.
        split: Split of the examples.
        examples: Their numbers.
        num_threads: Threads that decode.

    Raises:
        DataError: If an image cannot be decoded.
    """
    if not isinstance(source, EncodedSource):
        return source.images(split)[list(examples)]
    numbers = np.array(examples, np.int64)
    decode = make_evaluation_decoder(config, image_shape_of(source, config))
    batches = load_images(
        tf.data.Dataset.from_tensor_slices((numbers, 0 * numbers, 0 * numbers)),
        source,
        split,
        decode,
        batch_size=len(examples),
        num_threads=num_threads,
    ).with_options(on_own_threads(num_threads))
    keyed = ((example, 0) for example in examples)
    images, _, _ = _first_of(batches, source, split, decode, keyed)
    return images


def training_previews(
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    examples: Sequence[int],
    epochs: range,
) -> list[list[TrainingPreview | None]]:
    """Returns some examples as the network receives them in some epochs of training.

    They are read from the training dataset, each in a batch with its neighbour in that epoch of
    the run: the result depends on nothing else.

    Args:
        source: The images.
        config: Defines preprocessing and augmentation.
        plan: The plan of the run on one rank.
        examples: Their numbers.
        epochs: 0-based, within the run.

    Returns:
        One list per epoch with one entry per example: None if it is not used in that epoch,
        because it is beyond the last full batch.

    Raises:
        ConfigError: If the pipeline cannot be trained.
        DataError: If an image cannot be decoded.
    """
    # Not read from: raises the errors that training with batches of this size would raise.
    training_dataset(source, config, plan, rank=0)

    pairs = {
        epoch: _neighbours(
            rank_rows(plan, rank=0, epoch=epoch, division=source.division), plan, examples
        )
        for epoch in epochs
    }
    dataset = chosen_dataset(
        source,
        config,
        dataclasses.replace(plan, per_rank_batch_size=2 * len(examples), num_epochs=epochs.stop),
        first_epoch=epochs.start,
        choose_rows=lambda epoch: pairs[epoch].numbers[np.newaxis],
    )
    decode = make_training_decoder(config, image_shape_of(source, config))
    views: list[list[TrainingPreview | None]] = []
    batches = iter(dataset)
    for epoch in epochs:
        numbers, slots = pairs[epoch].numbers, pairs[epoch].slots
        keyed = ((example, crop_key(plan, epoch)) for example in numbers.tolist())
        images, batch_targets, _ = _first_of(batches, source, "train", decode, keyed)
        targets = np.asarray(targets_of(config, plan.num_classes).one_hot(batch_targets))
        views.append(
            [
                None
                if slot == _NO_PLACE
                else TrainingPreview(image=images[slot], target=targets[slot])
                for slot in slots
            ]
        )
    return views


@dataclass(frozen=True, kw_only=True, slots=True)
class _Neighbours:
    """A batch of examples with their neighbours, and the slot of each example in it."""

    numbers: Numbers
    slots: list[int]


def _neighbours(rows: Rows, plan: Plan, examples: Sequence[int]) -> _Neighbours:
    """Returns examples in pairs as in an epoch: positions 2 k and 2 k + 1."""
    in_order, is_real = rows.examples.reshape(-1), rows.weights.reshape(-1) > 0
    places = np.full(plan.num_train_examples, _NO_PLACE)
    places[in_order[is_real]] = np.flatnonzero(is_real)
    numbers, slots = np.repeat(np.array(examples, np.int64), 2), []
    for i, place in enumerate(places[list(examples)].tolist()):
        if place == _NO_PLACE:
            slots.append(_NO_PLACE)
            continue
        slots.append(2 * i + place % 2)
        # Without a neighbour only if batches are odd, in which case nothing is mixed.
        if place ^ 1 < len(in_order):
            numbers[2 * i + 1 - place % 2] = in_order[place ^ 1]
    return _Neighbours(numbers=numbers, slots=slots)


def _first_of(
    batches: Iterable[tuple[tf.Tensor, ...]],
    source: ImageSource,
    split: Split,
    decode: Decode,
    keyed: Iterable[tuple[int, int]],
) -> list[npt.NDArray[Any]]:
    """Returns the next batch as arrays; an error names the image that cannot be decoded."""
    try:
        return [tensor.numpy() for tensor in next(iter(batches))]
    except tf.errors.OpError:
        bad = None
        if isinstance(source, EncodedSource):
            bad = find_unreadable(source, split, decode, keyed)
        if bad is None:
            raise
        raise bad from None
