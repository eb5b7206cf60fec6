"""Group I: JPEG files."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from tests.unit.data.bad_inputs.cases import NOISE, UNKNOWN, Bad, Good, saved

JPEG = saved("JPEG", pixels=NOISE, quality=95)
_HUFFMAN_TABLE, _BASELINE, _SCAN = b"\xff\xc4", b"\xff\xc0", b"\xff\xda"


def _changed(content, place, *values):
    changed = bytearray(content)
    changed[place : place + len(values)] = values
    return bytes(changed)


def _in_scan(content):
    return (content.index(_SCAN) + len(content)) // 2


def _ycck():
    """CMYK whose Adobe marker says that its colours are transformed."""
    content = saved("JPEG", "CMYK")
    marker = content.index(b"Adobe")
    assert content[marker + 11] in (0, 2)
    return _changed(content, marker + 11, 2)


def _with_exif(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return saved("JPEG", exif=exif.tobytes())


def _with_much_exif():
    """10 MB of EXIF, in segments of 64 kB."""
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + bytes(65_527)
    return JPEG[:2] + segment * 160 + JPEG[2:]


def _of_size(height, width):
    return saved("JPEG", pixels=np.full((height, width, 3), 100, np.uint8))


GOOD = {
    "jpeg": Good(content=JPEG, kind="JPEG"),
    "jpeg: a byte in the scan is wrong": Good(
        content=_changed(JPEG, _in_scan(JPEG), JPEG[_in_scan(JPEG)] ^ 0x10), kind="JPEG"
    ),
    # Decoded, to what it says: nobody can know that it was not written so.
    "jpeg: header says arithmetic coding": Good(
        content=_changed(JPEG, JPEG.index(_BASELINE), 0xFF, 0xC9), kind="JPEG"
    ),
    "jpeg: something behind its end": Good(content=JPEG + b"more", kind="JPEG"),
    "jpeg: CMYK": Good(content=saved("JPEG", "CMYK"), kind="JPEG", remark="CMYK"),
    "jpeg: YCCK": Good(content=_ycck(), kind="JPEG", remark="CMYK"),
    "jpeg: grey": Good(content=saved("JPEG", "L"), kind="JPEG", remark="grey"),
    "jpeg: progressive": Good(content=saved("JPEG", progressive=True), kind="JPEG"),
    "jpeg: EXIF orientation 1": Good(content=_with_exif(1), kind="JPEG"),
    **{
        f"jpeg: EXIF orientation {number}": Good(
            content=_with_exif(number),
            kind="JPEG",
            remark=f"EXIF orientation {number}",
        )
        for number in range(2, 9)
    },
    "jpeg: 10 MB of EXIF": Good(content=_with_much_exif(), kind="JPEG"),
    "jpeg: 1 x 1": Good(content=_of_size(1, 1), kind="JPEG", size=(1, 1)),
    "jpeg: 65,500 x 1": Good(content=_of_size(1, 65_500), kind="JPEG", size=(1, 65_500)),
    "jpeg: 1 x 65,500": Good(content=_of_size(65_500, 1), kind="JPEG", size=(65_500, 1)),
}

BAD = {
    "jpeg: cut in the header": Bad(
        content=JPEG[:20], check="a JPEG that is cut off in its header", train="Invalid JPEG"
    ),
    "jpeg: cut in the middle": Bad(
        content=JPEG[: _in_scan(JPEG)],
        check="a JPEG that is cut off",
        train="jpeg::Uncompress failed",
    ),
    "jpeg: without its end": Bad(
        content=JPEG[:-2], check="a JPEG that is cut off", train="jpeg::Uncompress failed"
    ),
    "jpeg: wrong Huffman table": Bad(
        content=_changed(JPEG, JPEG.index(_HUFFMAN_TABLE) + 5, *[255] * 16),
        check="Invalid JPEG data",
    ),
    "jpeg: 12 bits": Bad(
        content=_changed(JPEG, JPEG.index(_BASELINE) + 4, 12),
        check="a JPEG of 12 bits, which is not supported; convert it",
        train="Invalid JPEG",
    ),
    "jpeg: height after the scan": Bad(
        content=_changed(JPEG, JPEG.index(_BASELINE) + 5, 0, 0),
        check="a JPEG whose header does not say how large it is; convert it",
        train="Invalid JPEG",
    ),
    "jpeg: lossless": Bad(
        content=_changed(JPEG, JPEG.index(_BASELINE) + 1, 0xC3),
        check="a lossless JPEG, which is not supported; convert it",
        train="Invalid JPEG",
    ),
    "jpeg: 65,500 x 65,500 in the header": Bad(
        content=_changed(JPEG, JPEG.index(_BASELINE) + 5, 0xFF, 0xDC, 0xFF, 0xDC),
        check="65500 x 65500 pixels, more than the 178,956,970 allowed",
    ),
    "0 bytes": Bad(content=b"", check="empty file"),
    "1 byte": Bad(content=b"\xff", check=UNKNOWN),
    "HTML": Bad(content=b"<html>not found</html>", check=UNKNOWN),
}
