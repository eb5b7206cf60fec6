"""What holds for every augmentation."""

import dataclasses
import typing

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment import Batch

from .batches import augmented, cached_augment, part_of, random_batch, uncompiled

ALL = (
    sections.RandomCrop(name="random_crop"),
    sections.RandomCrop(name="random_crop", padding_mode="reflect"),
    sections.RandomFlip(name="random_flip"),
    sections.RandomFlip(name="random_flip", vertical=True),
    sections.RandomFlip(name="random_flip", alternating=True),
    sections.RandomRotation(name="random_rotation", degrees=30.0),
    sections.RandomErasing(name="random_erasing"),
    sections.RandomErasing(name="random_erasing", value="random"),
    sections.Cutout(name="cutout", size=5),
    sections.ColourJitter(
        name="colour_jitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2
    ),
    sections.RandomGreyscale(name="random_greyscale", probability=0.5),
    sections.RandAugment(name="rand_augment"),
    sections.TrivialAugment(name="trivial_augment"),
    sections.Mixup(name="mixup"),
    sections.Cutmix(name="cutmix"),
)
NEUTRAL = (
    sections.RandomCrop(name="random_crop", padding=0),
    sections.RandomFlip(name="random_flip", probability=0.0),
    sections.RandomRotation(name="random_rotation", degrees=30.0, probability=0.0),
    sections.RandomRotation(name="random_rotation", degrees=0.0),
    sections.RandomErasing(name="random_erasing", probability=0.0),
    sections.Cutout(name="cutout", size=5, probability=0.0),
    sections.ColourJitter(
        name="colour_jitter",
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        probability=0.0,
    ),
    sections.ColourJitter(name="colour_jitter"),
    sections.RandomGreyscale(name="random_greyscale", probability=0.0),
    sections.Mixup(name="mixup", probability=0.0),
    sections.Cutmix(name="cutmix", probability=0.0),
)


def named(part):
    return part.name


def test_every_augmentation_of_images_of_one_size_is_here():
    (union, _) = typing.get_args(sections.Augmentation)
    kinds = set(typing.get_args(union)) - {sections.RandomResizedCrop}
    assert {type(part) for part in ALL} == kinds
    assert len(kinds) == 11


@pytest.mark.parametrize("part", ALL, ids=named)
def test_pixels_and_targets_do_not_depend_on_the_split_of_the_batch(part):
    batch = random_batch(40)
    images, targets = augmented(batch, part)
    assert (images.shape, images.dtype) == (batch.images.shape, np.uint8)
    assert (targets.shape, targets.dtype) == (batch.targets.shape, np.float32)
    mixes = part.name in ("mixup", "cutmix")
    split = ((0, 2), (2, 40)) if mixes else ((0, 1), (1, 40))
    parts = [augmented(part_of(batch, *bounds), part) for bounds in split]
    np.testing.assert_array_equal(np.concatenate([one for one, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([one for _, one in parts]), targets)


@pytest.mark.parametrize("part", ALL, ids=named)
def test_pixels_are_the_same_without_compilation(part):
    batch = random_batch(40)
    images, targets = augmented(batch, part)
    with uncompiled():
        for array, expected in zip(augmented(batch, part), (images, targets), strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("part", ALL, ids=named)
def test_pixels_depend_on_seed_epoch_and_example(part):
    batch = random_batch(40)
    images, _ = augmented(batch, part)
    assert not np.array_equal(images, batch.images.numpy())
    with uncompiled():
        others = [
            augmented(batch, part, seed=2),
            augmented(dataclasses.replace(batch, epoch=batch.epoch + 1), part),
            augmented(dataclasses.replace(batch, examples=batch.examples + 100), part),
        ]
    for other, _ in others:
        assert not np.array_equal(other, images)


@pytest.mark.parametrize("part", NEUTRAL, ids=named)
def test_without_strength_or_probability_nothing_changes(part):
    batch = random_batch(16)
    with uncompiled():
        images, targets = augmented(batch, part)
    np.testing.assert_array_equal(images, batch.images)
    np.testing.assert_array_equal(targets, batch.targets)


def test_grey_images_go_through_what_does_not_need_colours():
    batch = random_batch(16, channels=1)
    parts = [part for part in ALL if part.name not in ("colour_jitter", "random_greyscale")]
    with uncompiled():
        images, _ = augmented(batch, *parts)
    assert images.shape == (16, 9, 12, 1)
    assert not np.array_equal(images, batch.images)


def test_a_dataset_with_a_ragged_last_batch_has_the_same_pixels():
    batch = random_batch(22)
    parts = tuple(part for part in ALL if part.name in ("random_crop", "mixup"))
    expected, _ = augmented(batch, *parts)
    augment = cached_augment(parts, seed=1, image_shape=(9, 12, 3))

    def images_of(images, targets, examples):
        whole = Batch(images=images, targets=targets, examples=examples, epoch=batch.epoch)
        return augment(whole).images

    dataset = tf.data.Dataset.from_tensor_slices((batch.images, batch.targets, batch.examples))
    dataset = dataset.batch(8).map(images_of, num_parallel_calls=3, deterministic=True)
    np.testing.assert_array_equal(np.concatenate(list(dataset.as_numpy_iterator())), expected)
