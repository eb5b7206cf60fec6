"""Encodes an image for a record file: the original file, or a downscaled one."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image
import tensorflow as tf

from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.data.bad_examples.unreadable import READ_ERRORS, reason_of
from hvd_imgcls.data.decoding.decode import decode_shrunk, decode_whole, shrink
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.other_formats import is_decoded_by_tensorflow
from hvd_imgcls.errors import DataError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How images are re-encoded for record files.

    Attributes:
        max_side: Longest side in pixels; larger images are downscaled and written as JPEG, upright.
            None downscales none. Smaller ones that TensorFlow decodes are kept unchanged; all
            others, such as HEIC and TIFF, are written as JPEG too.
        quality: Quality of those JPEGs, 1 to 100.
        is_raw: Whether to store all images as raw uint8 pixels in 24-bit BMP files, upright:
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
    options = DecodingOptions(max_pixels=encoding.max_pixels)
    try:
        image, is_shrunk = _decoded(contents, encoding.max_side, options)
        is_kept = not is_shrunk and is_decoded_by_tensorflow(contents)
    except READ_ERRORS as error:
        reason = reason_of(error, contents)
        raise DataError(
            f"{name}: cannot be read as an image ({reason}); replace or remove it"
        ) from None
    if encoding.is_raw:
        contents = _as_bmp(image)
    elif not is_kept:
        contents = _as_jpeg(image, encoding.quality)
    return EncodedImage(contents=contents, height=image.shape[0], width=image.shape[1])


def _decoded(
    contents: bytes, max_side: int | None, options: DecodingOptions
) -> tuple[Pixels, bool]:
    """Decodes an image and shrinks it if it is too large; returns whether it was."""
    if max_side is None:
        return decode_whole(contents, options).numpy(), False
    if not tf.io.is_jpeg(contents):
        image = decode_whole(contents, options)
        return shrink(image, max_side).numpy(), max(image.shape[:2]) > max_side
    is_larger = int(tf.reduce_max(tf.io.extract_jpeg_shape(contents)[:2])) > max_side
    # Completely in both cases: an image may be damaged in its last rows.
    decode = functools.partial(decode_shrunk, max_side=max_side) if is_larger else decode_whole
    return decode(contents, options=options).numpy(), is_larger


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
