"""BMP files of every kind, byte by byte."""

from __future__ import annotations

import struct

import numpy as np

HEIGHT, WIDTH = 6, 10
_RANDOM = np.random.default_rng(0)
PALETTE = _RANDOM.integers(0, 256, (256, 3), dtype=np.uint8)
PIXELS = _RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
_MASKS_555, _MASKS_565 = (0x7C00, 0x03E0, 0x001F), (0xF800, 0x07E0, 0x001F)
_MASKS_8888 = (0x00FF0000, 0x0000FF00, 0x000000FF)


def _file(data, bits, *, compression=0, colours=0, masks=(), height=HEIGHT, behind=b""):
    palette = b"".join(bytes([*PALETTE[i, ::-1], 0]) for i in range(colours))
    extra = struct.pack(f"<{len(masks)}I", *masks) + palette
    header = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(data), 0, 0, colours, 0
    )
    start = 14 + len(header) + len(extra)
    return (
        struct.pack("<2sIII", b"BM", start + len(data), 0, start) + header + extra + data + behind
    )


def _rows(rows):
    """Returns rows of bytes from the last to the first, padded to multiples of four."""
    return b"".join(bytes(row) + bytes(-len(row) % 4) for row in rows[::-1])


def _indexed(bits, **options):
    """Palette indices of 1, 4 or 8 bits, and the pixels."""
    index = _RANDOM.integers(0, 2**bits, (HEIGHT, WIDTH))
    digits = (index[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = [np.packbits(row.reshape(-1)).tobytes() for row in digits]
    return _file(_rows(rows), bits, colours=2**bits, **options), PALETTE[index]


def _direct(bits, channels, **options):
    """Pixels of 16 bits, with channels of 5 or 6 bits."""
    values, pixels = np.zeros((HEIGHT, WIDTH), np.uint16), np.zeros_like(PIXELS)
    for channel, mask in enumerate(channels):
        depth, shift = mask.bit_count(), (mask & -mask).bit_length() - 1
        own = PIXELS[..., channel].astype(np.uint16) >> (8 - depth)
        values |= own << shift
        pixels[..., channel] = own.astype(np.uint32) * 255 // (2**depth - 1)
    return _file(_rows([row.astype("<u2").tobytes() for row in values]), bits, **options), pixels


def _rle8():
    """Runs of an index, one for every row, with ends of line and of the image."""
    index = np.repeat(_RANDOM.integers(0, 256, (HEIGHT, 1)), WIDTH, axis=1)
    data = b"".join(bytes([WIDTH, row[0], 0, 0]) for row in index[::-1]) + b"\0\1"
    return _file(data, 8, compression=1, colours=256), PALETTE[index]


def _rle4():
    index = np.repeat(_RANDOM.integers(0, 16, (HEIGHT, 1)), WIDTH, axis=1)
    data = b"".join(bytes([WIDTH, 17 * row[0], 0, 0]) for row in index[::-1]) + b"\0\1"
    return _file(data, 4, compression=2, colours=16), PALETTE[index]


def _of_os2():
    data = _rows([row[:, ::-1].tobytes() for row in PIXELS])
    header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    return struct.pack("<2sIII", b"BM", 26 + len(data), 0, 26) + header + data, PIXELS


_BGR = _rows([row[:, ::-1].tobytes() for row in PIXELS])
_BGRX = [
    np.concatenate([row[:, ::-1], np.zeros((WIDTH, 1), np.uint8)], 1).tobytes() for row in PIXELS
]

FILES = {
    "1 bit": _indexed(1),
    "4 bits": _indexed(4),
    "8 bits": _indexed(8),
    "16 bits": _direct(16, _MASKS_555),
    "16 bits, masks of 565": _direct(16, _MASKS_565, compression=3, masks=_MASKS_565),
    "24 bits": (_file(_BGR, 24), PIXELS),
    "24 bits, from top to bottom": (
        _file(_rows([row[:, ::-1].tobytes() for row in PIXELS[::-1]]), 24, height=-HEIGHT),
        PIXELS,
    ),
    "24 bits, bytes behind": (_file(_BGR, 24, behind=bytes(19)), PIXELS),
    "32 bits": (_file(_rows(_BGRX), 32), PIXELS),
    "32 bits, masks": (_file(_rows(_BGRX), 32, compression=3, masks=_MASKS_8888), PIXELS),
    "run lengths, 8 bits": _rle8(),
    "run lengths, 4 bits": _rle4(),
    "header of OS/2": _of_os2(),
}
"""Contents and pixels by kind."""
