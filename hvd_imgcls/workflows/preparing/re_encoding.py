"""Encodes an image for a record file: the original file, or a downscaled one."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image
import tensorflow as tf

from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.data.bad_examples.unreadable import reason_of
from hvd_imgcls.data.decoding.image_size import decode_whole
from hvd_imgcls.errors import DataError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How images are re-encoded for record files.

    Attributes:
        max_side: Longest side in pixels; larger images are downscaled and written as
            JPEG. None keeps every file unchanged.
        quality: Quality of those JPEGs, 1 to 100.
        is_raw: Whether to store all images as raw uint8 pixels in 24-bit BMP files:
            large, and fast to decode.
        max_pixels: Larger images are rejected by their header, before decoding.
    """

    max_side: int | None = None
    quality: int = 95
    is_raw: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedImage:
    """An image that has been decoded completely.

    Attributes:
        contents: The encoded file.
        height: In pixels.
        width: In pixels.
    """

    contents: bytes
    height: int
    width: int


def encode(contents: bytes, name: str, encoding: Encoding) -> EncodedImage:
    """Decodes an image completely, and downscales it if required.

    Args:
        contents: The encoded file.
        name: Name for error messages.
        encoding: Defines the maximum size.

    Raises:
        DataError: If it cannot be decoded.
    """
    try:
        # Three channels, as in training: some images decode to one channel but not to three.
        image = decode_whole(contents, encoding.max_pixels).numpy()
    except tf.errors.OpError as error:
        raise DataError(
            f"{name}: cannot be read as an image ({reason_of(error)}); replace or remove it"
        ) from None
    if encoding.max_side is not None and max(image.shape[:2]) > encoding.max_side:
        image = _made_smaller(image, encoding.max_side)
        contents = b"" if encoding.is_raw else _as_jpeg(image, encoding.quality)
    if encoding.is_raw:
        contents = _as_bmp(image)
    return EncodedImage(contents=contents, height=image.shape[0], width=image.shape[1])


def _made_smaller(image: Pixels, max_side: int) -> Pixels:
    """Downscales an image to a longer side of `max_side` pixels."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    smaller = tf.image.resize(image, size, antialias=True)
    pixels: Pixels = tf.cast(tf.clip_by_value(tf.round(smaller), 0, 255), tf.uint8).numpy()
    return pixels


def _as_jpeg(image: Pixels, quality: int) -> bytes:
    """Encodes an image as JPEG; greyscale images are stored as greyscale."""
    is_grey = bool((image == image[..., :1]).all())
    written: bytes = tf.io.encode_jpeg(
        image[..., :1] if is_grey else image, quality=quality
    ).numpy()
    return written


def _as_bmp(image: Pixels) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "BMP")
    return file.getvalue()
