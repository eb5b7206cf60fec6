"""Inspects one image file: its format and size, and whether training could decode it."""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash
from PIL import Image, UnidentifiedImageError

from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.data.bad_examples.unreadable import READ_ERRORS, reason_of
from hvd_imgcls.data.decoding.decode import decode_whole
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.pillow import PILLOW_FORMATS, register_heif
from hvd_imgcls.files.outside import MAX_IMAGE_BYTES, read_bytes

# Pillow refuses to report the size of very large images. `inspect_file` has its own limit.
Image.MAX_IMAGE_PIXELS = None

# TensorFlow decodes these, or the usual kinds of them, and Pillow the others.
_OF_TENSORFLOW = ("JPEG", "MPO", "PNG", "WEBP", "BMP")
_ORIENTATION = 274  # EXIF tag number


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Facts about a file.

    Attributes:
        problem: Why training cannot decode it; None if it can.
        format: JPEG, PNG, GIF, BMP, WEBP or Pillow's name for it; "" if unknown.
        height: In pixels; 0 if unknown.
        width: In pixels; 0 if unknown.
        num_bytes: Size of the file.
        checksum: XXH3, 64 bits, of the file, as 16 hexadecimal digits.
        remarks: Comma-separated warnings about a file that can be decoded.
    """

    problem: str | None = None
    format: str = ""
    height: int = 0
    width: int = 0
    num_bytes: int = 0
    checksum: str = ""
    remarks: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as a JSON object."""
        return asdict(self)


def inspect_file(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Facts:
    """Reads a file, parses its header and decodes it completely.

    Args:
        path: The file.
        max_pixels: Larger images are rejected by their header, before decoding.
    """
    try:
        content = read_bytes(path, MAX_IMAGE_BYTES)
    except OSError as error:
        return Facts(problem=error.strerror or str(error))
    if not content:
        return Facts(problem="empty file")
    facts: dict[str, Any] = {
        "num_bytes": len(content),
        "checksum": xxhash.xxh3_64_hexdigest(content),
        **_from_header(content),
    }
    height, width = facts.get("height", 0), facts.get("width", 0)
    if abs(height * width) > max_pixels or min(height, width) < 0:
        size = f"{width} x {height}"
        # Sizes of a crafted header need not fit into 32 bits, like those of the manifest.
        if not 0 <= min(height, width) <= max(height, width) < 2**31:
            facts.update(height=0, width=0)
        return Facts(**facts, problem=f"{size} pixels, more than the {max_pixels:,} allowed")
    kind = facts.get("format", "")
    if kind and kind not in (*_OF_TENSORFLOW, *PILLOW_FORMATS):
        return Facts(**facts, problem=f"{kind}, which is not supported; convert it")
    return Facts(**facts, problem=_decode(content, max_pixels))


def _from_header(content: bytes) -> dict[str, Any]:
    """Returns what Pillow reads without decoding; empty if it does not know the format."""
    register_heif()
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")
            return {
                "format": image.format or "",
                "height": image.height,
                "width": image.width,
                "remarks": ", ".join(_remarks(image)),
            }
    except (UnidentifiedImageError, OSError, ValueError):
        return {}
    except Exception as error:  # A plug-in of Pillow may fail on a crafted header.
        return {"remarks": f"Pillow: {type(error).__name__}"}


def _remarks(image: Image.Image) -> list[str]:
    remarks = []
    if image.mode in ("CMYK", "YCCK"):
        remarks.append("CMYK")
    elif image.mode.startswith("I") or image.mode == "F":
        remarks.append("more than 8 bits per channel")
    elif image.mode in ("L", "1", "LA"):
        remarks.append("grey")
    if "A" in image.getbands() or "transparency" in image.info:
        remarks.append("transparency is dropped")
    if getattr(image, "n_frames", 1) > 1:
        remarks.append("animated: the first image is used")
    # Pillow would decode a whole PNG to find its EXIF data.
    orientation = 1 if image.format == "PNG" else image.getexif().get(_ORIENTATION, 1)
    if orientation not in (0, 1):
        remarks.append(f"EXIF orientation {orientation}")
    if image.format not in _OF_TENSORFLOW:
        remarks.append("decoded by Pillow, slowly")
    return remarks


def _decode(content: bytes, max_pixels: int) -> str | None:
    """Returns why the image cannot be decoded completely, or None."""
    try:
        decode_whole(content, DecodingOptions(max_pixels=max_pixels))
    except READ_ERRORS as error:
        return reason_of(error, content)
    return None
