"""Group II: PNG files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.unit.data.bad_inputs.cases import HEIGHT, PIXELS, WIDTH, Bad, Good, animated, saved

PNG = saved("PNG")
# Adam7: first row, first column, and the steps between rows and columns, of every pass.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))


def png_of(width, height, data, *, bits=8, colour=2, interlaced=False):
    """Returns a PNG with this header and this data, compressed."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(data)),
            (b"IEND", b""),
        )
    )


def _interlaced():
    passes = [*_PASSES, (1, 0, 2, 1)]
    rows = [
        b"\0" + row.tobytes()
        for first_row, first_column, row_step, column_step in passes
        for row in PIXELS[first_row::row_step, first_column::column_step]
    ]
    return png_of(WIDTH, HEIGHT, b"".join(rows), interlaced=True)


def _sixteen_bits():
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save(file, "PNG")
    return file.getvalue()


def _with_wrong_checksum():
    changed = bytearray(PNG)
    changed[PNG.index(b"IEND") - 5] ^= 1  # the last byte of the data's checksum
    return bytes(changed)


GOOD = {
    "png": Good(content=PNG, kind="PNG"),
    "png: 16 bits": Good(
        content=_sixteen_bits(), kind="PNG", remark="more than 8 bits per channel"
    ),
    "png: 1 bit": Good(content=saved("PNG", "1"), kind="PNG", remark="grey"),
    "png: palette": Good(content=saved("PNG", "P"), kind="PNG"),
    "png: palette with a transparent colour": Good(
        content=saved("PNG", "P", transparency=0), kind="PNG", remark="transparency is dropped"
    ),
    "png: grey with alpha": Good(
        content=saved("PNG", "LA"), kind="PNG", remark="grey, transparency is dropped"
    ),
    "png: alpha": Good(content=saved("PNG", "RGBA"), kind="PNG", remark="transparency is dropped"),
    "png: interlaced": Good(content=_interlaced(), kind="PNG"),
    "png: animated": Good(
        content=animated("PNG"), kind="PNG", remark="animated: the first image is used"
    ),
}

BAD = {
    "png: wrong checksum": Bad(content=_with_wrong_checksum(), check="Invalid PNG data"),
    "png: data cut": Bad(content=PNG[: PNG.index(b"IDAT") + 40], check="Invalid PNG data"),
    "png: header cut": Bad(content=PNG[:20], check="Invalid PNG. Failed to initialize decoder."),
    "png: header says 40,000 x 40,000": Bad(
        content=png_of(40_000, 40_000, bytes(1000)),
        check="40000 x 40000 pixels, more than the 178,956,970 allowed",
    ),
    "png: whole, 1 bit, 20,000 x 20,000": Bad(
        content=png_of(20_000, 20_000, bytes(20_000 * 2_501), bits=1, colour=0),
        check="20000 x 20000 pixels, more than the 178,956,970 allowed",
    ),
    "png: header says 2^32 - 1 squared": Bad(
        content=png_of(2**32 - 1, 2**32 - 1, bytes(1000)),
        check="4294967295 x 4294967295 pixels, more than the 178,956,970 allowed",
    ),
}
