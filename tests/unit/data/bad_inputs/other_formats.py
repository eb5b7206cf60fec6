"""Group III: other formats."""

from __future__ import annotations

import struct

import numpy as np

from tests.unit.data.bad_inputs.cases import (
    PIXELS,
    SLOW,
    UNKNOWN,
    Bad,
    Good,
    animated,
    saved,
)

GIF, WEBP, BMP = saved("GIF"), saved("WEBP"), saved("BMP")


def _gif(screen, *images):
    """A GIF of these heights and widths; the images hold no data."""
    parts = [b"GIF89a", struct.pack("<HHBBB", screen[1], screen[0], 0x80, 0, 0), bytes(6)]
    for height, width in images:
        parts += [b",", struct.pack("<HHHHB", 0, 0, width, height, 0), b"\x02\x01\x44\x00"]
    return b"".join([*parts, b";"])


def _webp(kind, header):
    body = b"WEBP" + kind + struct.pack("<I", len(header)) + header
    return b"RIFF" + struct.pack("<I", len(body)) + body + bytes(100)


def _bmp(width, height):
    return BMP[:18] + struct.pack("<ii", width, height) + BMP[26:]


GOOD = {
    "gif": Good(content=GIF, kind="GIF", remark=SLOW),
    "gif: animated": Good(
        content=animated("GIF"), kind="GIF", remark=f"animated: the first image is used, {SLOW}"
    ),
    "webp": Good(content=WEBP, kind="WEBP"),
    "webp: lossless": Good(content=saved("WEBP", lossless=True), kind="WEBP"),
    "webp: alpha": Good(
        content=saved("WEBP", "RGBA", np.dstack([PIXELS, PIXELS[..., 0]])),
        kind="WEBP",
        remark="transparency is dropped",
    ),
    "webp: animated": Good(
        content=animated("WEBP"), kind="WEBP", remark="animated: the first image is used"
    ),
    "tiff": Good(content=saved("TIFF"), kind="TIFF", remark=SLOW),
    "tiff: 16 bits": Good(
        content=saved("TIFF", "I;16", PIXELS[..., 0].astype(np.uint16) * 257),
        kind="TIFF",
        remark=f"more than 8 bits per channel, {SLOW}",
    ),
    "avif": Good(content=saved("AVIF"), kind="AVIF", remark=SLOW),
    "jpeg 2000": Good(content=saved("JPEG2000"), kind="JPEG2000", remark=SLOW),
    "bmp": Good(content=BMP, kind="BMP"),
    "bmp: grey": Good(content=saved("BMP", "L"), kind="BMP", remark="grey"),
}

BAD = {
    "gif: cut": Bad(content=GIF[:60], check=UNKNOWN),
    "gif: damaged": Bad(content=GIF[:30] + bytes(len(GIF) - 30), check=UNKNOWN),
    "gif: the first image is larger than the screen": Bad(
        content=_gif((10, 10), (60_000, 60_000)),
        check="60000 x 60000 pixels, more than the 178,956,970 allowed",
    ),
    "gif: without data": Bad(content=_gif((100, 100), (100, 100)), check="image file"),
    "webp: cut": Bad(content=WEBP[: len(WEBP) // 2], check="Failed to decode WebP"),
    "webp: lossy, 16,383 squared": Bad(
        content=_webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a\xff\x3f\xff\x3f"),
        check="16383 x 16383 pixels, more than the 178,956,970 allowed",
    ),
    "webp: lossless, 16,384 squared": Bad(
        content=_webp(b"VP8L", b"\x2f\xff\xff\xff\x0f"),
        check="16384 x 16384 pixels, more than the 178,956,970 allowed",
    ),
    "webp: canvas of 16,777,216 x 255": Bad(
        content=_webp(b"VP8X", bytes(4) + b"\xff\xff\xff\xfe\x00\x00"),
        check="16777216 x 255 pixels, more than the 178,956,970 allowed",
    ),
    "bmp: cut": Bad(content=BMP[:100], check="image file is truncated (46 bytes not processed)"),
    "bmp: no height": Bad(content=_bmp(32, 0), check=UNKNOWN),
    "bmp: 40,000 squared": Bad(
        content=_bmp(40_000, 40_000),
        check="40000 x 40000 pixels, more than the 178,956,970 allowed",
    ),
    "bmp: 40,000 squared, from top to bottom": Bad(
        content=_bmp(40_000, -40_000),
        check="40000 x 40000 pixels, more than the 178,956,970 allowed",
    ),
    "heic": Bad(
        content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        check=UNKNOWN,
    ),
    "jpeg xl": Bad(
        content=b"\xff\x0a" + bytes(100),
        check="JPEG XL, which is not supported; convert it",
    ),
    "jpeg xl in a box": Bad(
        content=b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
        check="JPEG XL, which is not supported; convert it",
    ),
    "svg": Bad(
        content=b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        check=UNKNOWN,
    ),
}
