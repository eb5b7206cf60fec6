"""Reads and decodes encoded images in a `tf.data` pipeline."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding.decode import decode_window
from hvd_imgcls.data.decoding.options import options_of
from hvd_imgcls.data.decoding.windows import centre_window, random_window
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.base import EncodedSource

# Takes the encoded image, scalar string, and the example number and the epoch's key, scalar int64;
# returns the image, uint8.
Decode = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


# Images per read of record files: few calls into Python, within the size of caches.
_READ_TOGETHER = 16


def random_resized_crop_of(config: RunConfig) -> RandomResizedCrop | None:
    """Returns the random resized crop, which happens during decoding, if it is configured."""
    first = config.augment[0] if config.augment else None
    return first if isinstance(first, RandomResizedCrop) else None


def make_training_decoder(config: RunConfig, image_shape: tuple[int, int, int]) -> Decode:
    """Returns a function that decodes and crops a training image."""
    crop = random_resized_crop_of(config)
    if crop is None:
        return make_evaluation_decoder(config, image_shape)
    options = options_of(config, image_shape)

    def decode(contents: tf.Tensor, example: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        def choose(size: tf.Tensor) -> tf.Tensor:
            return random_window(size, crop, key, example)

        return decode_window(contents, choose, image_shape[0], options)

    return decode


def make_evaluation_decoder(
    config: RunConfig, image_shape: tuple[int, int, int], *, is_portable: bool = False
) -> Decode:
    """Returns a function that decodes and centre-crops an image; it ignores the key.

    Args:
        config: Defines the preprocessing.
        image_shape: Height, width and channels of the network's input images.
        is_portable: Whether the function must run without Python, in an exported graph.
    """
    options = options_of(config, image_shape, is_portable=is_portable)

    def decode(contents: tf.Tensor, example: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        del example, key

        def choose(size: tf.Tensor) -> tf.Tensor:
            return centre_window(size, config.evaluation.crop_fraction)

        return decode_window(contents, choose, image_shape[0], options)

    return decode


def load_images(
    slots: tf.data.Dataset,
    source: EncodedSource,
    split: Split,
    decode: Decode,
    *,
    batch_size: int,
    num_threads: int,
) -> tf.data.Dataset:
    """Reads and decodes the images of a dataset of example numbers, in its order.

    Args:
        slots: Dataset of (example number, key, any value), all scalar int64. Full batches.
        source: The images.
        split: Split of the examples.
        decode: Decodes an image file.
        batch_size: Images per batch.
        num_threads: Images decoded in parallel.

    Returns:
        A dataset of (images `[batch_size, height, width, channels]` uint8, example numbers
        `[batch_size]`, the other value `[batch_size]`).
    """
    read_batch = source.make_batch_reader(split)
    if read_batch is not None:
        contents = slots.batch(min(_READ_TOGETHER, batch_size)).map(
            lambda examples, keys, others: (read_batch(examples), examples, keys, others)
        )
        # Not `unbatch`, which copies every image again: measured at 100 us for 100 kB.
        contents = contents.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts))
        return decode_images(contents, decode, batch_size=batch_size, num_threads=num_threads)
    read = source.make_reader(split)
    # Read and decoded in one `map`: two cost about 50 us more per image.
    images = slots.map(
        lambda example, key, other: (decode(read(example), example, key), example, other),
        num_parallel_calls=num_threads,
        deterministic=True,
    )
    return images.batch(batch_size, drop_remainder=True)


def decode_images(
    contents: tf.data.Dataset, decode: Decode, *, batch_size: int, num_threads: int
) -> tf.data.Dataset:
    """Decodes encoded images, in their order.

    Args:
        contents: Dataset of (encoded image, example number, key, any value), all scalars.
        decode: Decodes an encoded image.
        batch_size: Images per batch.
        num_threads: Images decoded in parallel.

    Returns:
        The same as `load_images`.
    """
    images = contents.map(
        lambda content, example, key, other: (decode(content, example, key), example, other),
        num_parallel_calls=num_threads,
        deterministic=True,
    )
    return images.batch(batch_size, drop_remainder=True)
