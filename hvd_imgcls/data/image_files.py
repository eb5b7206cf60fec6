"""Encoded images inside a dataset: which window of which image, decoded one by one."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding import centre_window, decode_window, random_window
from hvd_imgcls.data.source import EncodedSource, Split

# Example number and the epoch's key, both scalar int64, in; the image, uint8, out.
LoadImage = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def random_resized_crop_of(config: RunConfig) -> RandomResizedCrop | None:
    """Returns the crop that comes with decoding, if the first augmentation is one."""
    first = config.augment[0] if config.augment else None
    return first if isinstance(first, RandomResizedCrop) else None


def make_training_loader(
    source: EncodedSource, config: RunConfig, image_shape: tuple[int, int, int]
) -> LoadImage:
    """Returns a function that reads, decodes and crops a training image."""
    crop = random_resized_crop_of(config)
    if crop is None:
        return make_evaluation_loader(source, config, image_shape, "train")
    read = source.make_reader("train")

    def load(example: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        keys = tf.stack([key, example])
        return decode_window(
            read(example),
            lambda size: random_window(size, crop, keys),
            image_size=image_shape[0],
            num_channels=image_shape[2],
        )

    return load


def make_evaluation_loader(
    source: EncodedSource, config: RunConfig, image_shape: tuple[int, int, int], split: Split
) -> LoadImage:
    """Returns a function that reads, decodes and crops the centre of an image; no key is used."""
    read = source.make_reader(split)
    crop_fraction = config.evaluation.crop_fraction

    def load(example: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        del key
        return decode_window(
            read(example),
            lambda size: centre_window(size, crop_fraction),
            image_size=image_shape[0],
            num_channels=image_shape[2],
        )

    return load
