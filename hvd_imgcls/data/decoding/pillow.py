"""Decodes with Pillow what TensorFlow cannot decode, or decodes wrongly."""

from __future__ import annotations

import functools
import importlib.util
import io
import logging
import warnings

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from hvd_imgcls.errors import DataError, first_line

logger = logging.getLogger(__name__)

# No others: some of Pillow's plug-ins start programs.
PILLOW_FORMATS = ("TIFF", "AVIF", "HEIF", "JPEG2000", "GIF", "BMP", "WEBP", "PPM", "JPEG", "MPO")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevx", b"mif1", b"msf1")
_JPEG_XL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
_ORIENTATION = 274  # EXIF tag
# Modes whose 8-bit RGB values Pillow computes.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}

Pixels = npt.NDArray[np.uint8]


def pillow_pixels(contents: tf.Tensor, max_pixels: int, *, is_upright: bool) -> tf.Tensor:
    """Decodes an image with Pillow inside a graph, which requires Python.

    Args:
        contents: Encoded image, scalar string.
        max_pixels: Larger images are rejected by their header.
        is_upright: Whether the EXIF orientation is applied.

    Returns:
        `[height, width, 3]`, uint8.

    Raises:
        tf.errors.OpError: At run time, with the reason.
    """

    def decode(content: bytes | npt.NDArray[np.object_]) -> Pixels:
        return decode_with_pillow(np.asarray(content, np.object_).item(), max_pixels, is_upright)

    # NumPy would cut off zeros at the end of bytes that are not a tensor.
    contents = tf.convert_to_tensor(contents, tf.string)
    pixels = tf.numpy_function(decode, [contents], tf.uint8, stateful=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def decode_with_pillow(content: bytes, max_pixels: int, is_upright: bool) -> Pixels:
    """Decodes an image: the first one of a file, without transparency.

    Args:
        content: TIFF, AVIF, HEIC, JPEG 2000, GIF, BMP, WebP or PPM.
        max_pixels: Larger images are rejected by their header.
        is_upright: Whether the EXIF orientation is applied. The orientations of HEIC and TIFF
            belong to the format and are always applied.

    Returns:
        `[height, width, 3]`, uint8. Values of 16 bits are scaled.

    Raises:
        DataError: With the reason.
    """
    if content.startswith(_JPEG_XL_STARTS):
        raise DataError("JPEG XL, which is not supported; convert it")
    if not content:
        raise DataError("empty file")
    # AVIF may have the brands of its container.
    is_heif = content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS
    if is_heif and b"avif" not in content[:64] and not register_heif():
        raise DataError("HEIC, which requires pillow-heif: pip install 'hvd_imgcls[heic]'")
    try:
        with Image.open(io.BytesIO(content), formats=_installed_formats()) as image:
            require_allowed(image.size, max_pixels)
            _say_once(image.format or "")
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1) if is_upright else 1
            return _turned(_to_rgb(image), orientation)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("unknown image format, or damaged") from None
    except Exception as error:  # Pillow's plug-ins raise arbitrary exceptions.
        raise DataError(first_line(error)) from None


def require_allowed(size: tuple[int, int], max_pixels: int) -> None:
    """Checks the width and height of an image.

    Raises:
        DataError: If it has too many pixels.
    """
    width, height = size
    if width * height > max_pixels:
        raise DataError(f"{width} x {height} pixels, more than the {max_pixels:,} allowed")


def scale_to_bytes(values: npt.NDArray[np.uint16]) -> Pixels:
    """Scales 0 .. 65,535 to 0 .. 255, rounding to the nearest."""
    wide = values.astype(np.uint32)
    return ((wide * 255 + 32_895) >> 16).astype(np.uint8)


def _to_rgb(image: Image.Image) -> Pixels:
    mode = image.mode
    if mode.startswith("I;16") or (mode, image.format) == ("I", "PPM"):
        grey = scale_to_bytes(np.asarray(image).astype(np.uint16))
        return np.repeat(grey[..., np.newaxis], 3, axis=-1)
    if mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[mode])
    elif mode not in _MODES:
        kind = {"I": "32-bit integers", "F": "floating-point numbers"}.get(mode, mode)
        raise DataError(f"{image.format} with pixels as {kind}, which is not supported; convert it")
    return np.asarray(image.convert("RGB"))


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turns pixels upright; see `orientation.py`."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@functools.cache
def _installed_formats() -> tuple[str, ...]:
    """Returns the formats that can be read; called once, before the first image."""
    # For all threads: the filters of `catch_warnings` would be mixed up between them.
    warnings.filterwarnings("ignore", module="PIL")
    Image.init()
    register_heif()
    return tuple(name for name in PILLOW_FORMATS if name in Image.OPEN)


@functools.cache
def register_heif() -> bool:
    """Lets Pillow read HEIC, if pillow-heif is installed; returns whether it is."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


@functools.cache
def _say_once(format_name: str) -> None:
    logger.info(
        "note: %s images that TensorFlow cannot decode are decoded by Pillow, which is slower; "
        "`hvd-imgcls prepare` converts them once",
        format_name,
    )
