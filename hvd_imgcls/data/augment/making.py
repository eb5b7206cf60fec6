"""Combines all augmentations of a pipeline into one function of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment.batch import Batch, Parameters, Transform, compiled
from hvd_imgcls.data.augment.colour import make_colour_jitter, make_random_greyscale
from hvd_imgcls.data.augment.erasing import make_cutout, make_random_erasing
from hvd_imgcls.data.augment.geometry import (
    make_random_crop,
    make_random_flip,
    make_random_rotation,
)
from hvd_imgcls.data.augment.mixing import make_cutmix, make_mixup
from hvd_imgcls.data.augment.policies import make_rand_augment, make_trivial_augment
from hvd_imgcls.data.randomness.random_numbers import uniform_words
from hvd_imgcls.errors import ConfigError

Augment = Callable[[Batch], Batch]

_Maker = Callable[[Any, tuple[int, int, int], str], Transform]

_MAKERS: Mapping[type, _Maker] = {
    sections.RandomCrop: make_random_crop,
    sections.RandomFlip: make_random_flip,
    sections.RandomRotation: make_random_rotation,
    sections.RandomErasing: make_random_erasing,
    sections.Cutout: make_cutout,
    sections.ColourJitter: make_colour_jitter,
    sections.RandomGreyscale: make_random_greyscale,
    sections.RandAugment: make_rand_augment,
    sections.TrivialAugment: make_trivial_augment,
    sections.Mixup: make_mixup,
    sections.Cutmix: make_cutmix,
}

# Random number streams reserved for each augmentation, so that no two share one.
_STREAMS_PER_TRANSFORM = 64


def make_augment(
    parts: Sequence[sections.Augmentation],
    *,
    seed: int,
    image_shape: tuple[int, int, int],
    first_index: int = 0,
) -> Augment:
    """Returns all augmentations as one function.

    Image transforms are compiled by XLA, once per batch shape: much faster than without, with
    identical pixels (measurements: CONTRIBUTING.md, decisions).

    Args:
        parts: The augmentations, in order.
        seed: `train.seed`.
        image_shape: Height, width and channels.
        first_index: Index of the first of `parts` in the pipeline's `augment`: 1 if a
            `random_resized_crop` in front of them was removed.

    Raises:
        ConfigError: If an augmentation is incompatible with images of this size. The returned
            function raises it if examples are mixed and the batch size is odd.
    """
    transforms = [
        _make_transform(part, image_shape, f"augment.{index}")
        for index, part in enumerate(parts, first_index)
    ]
    if not transforms:
        return lambda batch: batch
    streams = [
        1 + index * _STREAMS_PER_TRANSFORM + word
        for index, transform in enumerate(transforms, first_index)
        for word in range(transform.num_words)
    ]

    numbers = [transform.num_words for transform in transforms]

    def draw(examples: tf.Tensor, epoch: tf.Tensor) -> list[Parameters]:
        words = uniform_words(examples, seed=seed, epoch=epoch, streams=streams)
        drawn = []
        for index, (transform, own) in enumerate(
            zip(transforms, tf.split(words, numbers), strict=True)
        ):
            if transform.alternate is None:
                drawn.append(transform.draw(own))
                continue
            first = sum(numbers[:index])
            of_first_epoch = uniform_words(
                examples,
                seed=seed,
                epoch=tf.zeros_like(epoch),
                streams=streams[first:][: numbers[index]],
            )
            drawn.append(transform.alternate(transform.draw(of_first_epoch), epoch % 2 == 1))
        return drawn

    draw = compiled(draw)

    def augment(batch: Batch) -> Batch:
        if any(transform.mixes for transform in transforms):
            _require_even(batch.images.shape[0])
        images, targets = batch.images, batch.targets
        for transform, parameters in zip(
            transforms, draw(batch.examples, batch.epoch), strict=True
        ):
            images = transform.change_images(images, parameters)
            if transform.change_targets is not None:
                targets = transform.change_targets(targets, parameters)
        return dataclasses.replace(batch, images=images, targets=targets)

    return augment


def _make_transform(
    part: sections.Augmentation, image_shape: tuple[int, int, int], key: str
) -> Transform:
    maker = _MAKERS.get(type(part))
    if maker is None:
        raise ConfigError(
            f"{key}.name",
            got=part.name,
            expected="an augmentation of equally sized images",
            fix=f"put {part.name} first: it resizes the images to one size",
        )
    transform = maker(part, image_shape, key)
    if not transform.compile_as_whole:
        return transform
    return dataclasses.replace(transform, change_images=compiled(transform.change_images))


def _require_even(batch_size: int | None) -> None:
    """Raises ConfigError for an odd batch size; None, an unknown size, passes."""
    if batch_size is not None and batch_size % 2:
        raise ConfigError(
            "train.global_batch_size",
            got=f"{batch_size} examples per rank and pass",
            expected="an even number, since mixup and cutmix mix neighbours",
            fix="use a multiple of 2 * ranks * train.gradient_accumulation_steps",
        )
