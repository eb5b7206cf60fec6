"""Pictures of a given size for the benchmarks: synthetic, or mosaics of photographs."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

from hvd_imgcls.bench.inputs.photographs import made_up_photograph
from hvd_imgcls.errors import DataError

# Height and width of a photograph in a mosaic.
_TILE = 375, 500
_QUALITY = 92
_EXIF_ORIENTATION = 274
# The width is the longer side.
_ASPECT_RATIO = 4 / 3


def size_of_width(width: int) -> tuple[int, int]:
    """Returns height and width of a picture, in pixels.

    >>> size_of_width(4000)
    (3000, 4000)
    """
    return round(width / _ASPECT_RATIO), width


def write_pictures(
    folder: Path, width: int, number: int, *, data: Path | None, variant: str = ""
) -> Path:
    """Writes JPEG files of one size, or uses those of an earlier call.

    Args:
        folder: Folder of all pictures.
        width: Their longer side, in pixels.
        number: Number of pictures.
        data: Folder with photographs, of which mosaics are made, or which are used as they are
            for a width of 500; synthetic photographs when None.
        variant: "progressive", or "EXIF" for files with EXIF data, or neither.

    Returns:
        The folder with the pictures.

    Raises:
        DataError: If there are no photographs.
    """
    destination = folder / f"{width}{variant}"
    if destination.is_dir():
        return destination
    destination.mkdir(parents=True)
    for index in range(number):
        content = _encoded(_picture(size_of_width(width), index, data), variant)
        (destination / f"{index:03}.jpg").write_bytes(content)
    return destination


def read_pictures(folder: Path) -> list[bytes]:
    """Returns the contents of the pictures in a folder, in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def _picture(size: tuple[int, int], index: int, data: Path | None) -> bytes:
    if data is None:
        return made_up_photograph(index, size)
    found = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise DataError(f"{data}: no JPEG files; use a folder with photographs")
    if size == _TILE:
        return found[index % len(found)].read_bytes()
    return _mosaic(size, index, found)


def _mosaic(size: tuple[int, int], index: int, found: Sequence[Path]) -> bytes:
    """Returns a mosaic of photographs of 500 by 375 pixels, full of detail."""
    from PIL import Image, ImageOps

    places = [range(0, side, tile) for side, tile in zip(size, _TILE, strict=True)]
    mosaic = Image.new("RGB", size[::-1])
    for number, (top, left) in enumerate(itertools.product(*places)):
        path = found[(index * len(places[0]) * len(places[1]) + number) % len(found)]
        with Image.open(path) as image:
            tile = ImageOps.fit(image.convert("RGB"), _TILE[::-1])
        mosaic.paste(tile, (left, top))
    buffer = io.BytesIO()
    mosaic.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _encoded(content: bytes, variant: str) -> bytes:
    """Returns a picture as a progressive JPEG, encoded again, or with EXIF data inserted."""
    from PIL import Image

    if variant == "progressive":
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(content)) as image:
            image.save(buffer, format="JPEG", quality=_QUALITY, progressive=True)
        return buffer.getvalue()
    if variant == "EXIF":
        exif = Image.Exif()
        exif[_EXIF_ORIENTATION] = 1
        data = exif.tobytes()
        segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
        return content[:2] + segment + content[2:]
    return content
