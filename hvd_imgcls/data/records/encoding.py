"""What is written for an image: its file as it is, or a smaller one."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.data.image_size import decode_whole
from hvd_imgcls.data.unreadable import reason_of
from hvd_imgcls.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How images are changed on the way into record files.

    Attributes:
        max_side: Longest side in pixels; larger images are made smaller and written as
            JPEG. None leaves every file as it is.
        quality: Quality of those JPEGs, 1 to 100.
        max_pixels: Larger images are refused by their header, before they are decoded.
    """

    max_side: int | None = None
    quality: int = 95
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedImage:
    """A whole image that was decoded to the end.

    Attributes:
        contents: The file.
        height: In pixels.
        width: In pixels.
    """

    contents: bytes
    height: int
    width: int


def encode(contents: bytes, name: str, encoding: Encoding) -> EncodedImage:
    """Decodes a whole image, and makes it smaller if it is to be.

    Args:
        contents: What the file holds.
        name: What the error calls it.
        encoding: Says how large it may be.

    Raises:
        DataError: If it cannot be decoded.
    """
    try:
        # Three channels, as training decodes it: what can be decoded to others may not be to these.
        image = decode_whole(contents, encoding.max_pixels).numpy()
    except tf.errors.OpError as error:
        raise DataError(
            f"{name}: cannot be read as an image ({reason_of(error)}); replace or remove it"
        ) from None
    height, width = image.shape[:2]
    if encoding.max_side is None or max(height, width) <= encoding.max_side:
        return EncodedImage(contents=contents, height=height, width=width)
    scale = encoding.max_side / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    channels = 1 if (image == image[..., :1]).all() else 3  # grey is stored as grey
    smaller = tf.image.resize(image[..., :channels], size, antialias=True)
    smaller = tf.cast(tf.clip_by_value(tf.round(smaller), 0, 255), tf.uint8)
    written = tf.io.encode_jpeg(smaller, quality=encoding.quality).numpy()
    return EncodedImage(contents=written, height=size[0], width=size[1])
