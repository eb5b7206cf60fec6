"""Images for the verification of an exported model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder
from hvd_imgcls.errors import DataError
from hvd_imgcls.workflows.exporting.job import ExportJob

NUM_CHECKED = 100


def decoder_of(
    job: ExportJob, image_shape: tuple[int, int, int]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from an encoded image to pixels, uint8 `image_shape`."""
    decode = make_evaluation_decoder(job.config, image_shape, is_portable=True)
    nothing = tf.constant(0, tf.int64)
    return lambda content: decode(content, nothing, nothing)


def made_up_images(image_shape: tuple[int, int, int]) -> dict[str, bytes]:
    """Returns PNG files with random coloured blocks by name, the same on every call."""
    random = np.random.default_rng(0)
    height, width, channels = image_shape
    images = {}
    for number in range(NUM_CHECKED):
        small = random.integers(0, 256, (4, 4, channels), dtype=np.uint8)
        pixels = tf.image.resize(small, (height + 7, width + 3), "nearest")
        content = tf.io.encode_png(tf.cast(pixels, tf.uint8)).numpy()
        images[f"synthetic image {number}"] = bytes(content)
    return images


def pixels_of(
    images: Mapping[str, bytes], job: ExportJob, image_shape: tuple[int, int, int]
) -> npt.NDArray[np.uint8]:
    """Decodes images for the model, `[images, *image_shape]`.

    Args:
        images: Encoded, by name.
        job: Defines the preprocessing.
        image_shape: Height, width and channels.

    Raises:
        DataError: If one cannot be decoded.
    """
    decode = decoder_of(job, image_shape)
    pixels = []
    for name, content in images.items():
        try:
            pixels.append(decode(tf.constant(content)).numpy())
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
            raise DataError(f"{name}: {reason}; use valid images for verification") from None
    return np.stack(pixels)
