"""A picture as cameras store it that are held in different ways."""

from __future__ import annotations

import io

from PIL import Image

from tests.unit.data.decoding.pictures import photograph

PICTURE = photograph(200, 150)
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
FORMATS = {
    "JPEG": {"quality": 97},
    "MPO": {"quality": 97},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 95},
}


def stored(orientation, kind="JPEG", tag=True, **options):
    """Returns the picture as a camera stores it that was held in this orientation."""
    image, turn = Image.fromarray(PICTURE), TURNS[orientation]
    exif = Image.Exif()
    exif[271], exif[305] = "maker", "software"
    if tag:
        exif[274] = orientation
    file = io.BytesIO()
    turned = image if turn is None else image.transpose(turn)
    turned.save(file, kind, exif=exif, **(FORMATS[kind] | options))
    return file.getvalue()
