"""A small file of every variant of the image formats that is decoded."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from tests.unit.data.decoding.pictures import photograph

HEIGHT, WIDTH = 24, 32
PICTURE = Image.fromarray(photograph(HEIGHT, WIDTH))
GREY_16 = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)


def saved(kind, mode="RGB", image=PICTURE, **options):
    """Returns a picture as Pillow writes it."""
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def _frames(kind, **options):
    return saved(kind, save_all=True, append_images=[PICTURE.rotate(180)], **options)


def _adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def _without_adobe(content):
    place = content.index(b"Adobe") - 4
    (length,) = struct.unpack_from(">H", content, place + 2)
    return content[:place] + content[place + 2 + length :]


def _with_transform(content, transform):
    changed = bytearray(content)
    changed[content.index(b"Adobe") + 11] = transform
    return bytes(changed)


def _gif(screen, place, size, *, transparent=None, background=0):
    """A GIF whose only image covers a part of the screen."""
    image = Image.fromarray(photograph(*size)).convert("P", palette=Image.Palette.ADAPTIVE)
    content = saved("GIF", "P", image)
    table = 13 + 768
    begin = content.index(b",", table)
    head = bytearray(content[:table])
    head[6:10], head[11] = struct.pack("<HH", screen[1], screen[0]), background
    body = bytearray(content[begin:])
    body[1:5] = struct.pack("<HH", place[1], place[0])
    control = b"" if transparent is None else b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    return bytes(head) + control + bytes(body)


JPEG = saved("JPEG", quality=95)
CMYK = saved("JPEG", "CMYK", quality=95)
_JFIF_END = 20

JPEGS = {
    **{
        f"{chroma}, quality {quality}": saved("JPEG", quality=quality, subsampling=chroma)
        for chroma in ("4:4:4", "4:2:2", "4:2:0")
        for quality in (50, 98, 100)
    },
    "grey": saved("JPEG", "L"),
    "progressive": saved("JPEG", progressive=True),
    "optimised": saved("JPEG", optimize=True),
    "restart markers": saved("JPEG", restart_marker_blocks=1),
    "several images (MPO)": _frames("MPO"),
    "neither JFIF nor Adobe": JPEG[:2] + JPEG[_JFIF_END:],
    "Adobe, YCbCr": JPEG[:2] + _adobe(1) + JPEG[_JFIF_END:],
    "Adobe, RGB": JPEG[:2] + _adobe(0) + JPEG[_JFIF_END:],
    "CMYK of Adobe": _with_transform(CMYK, 0),
    "YCCK": _with_transform(CMYK, 2),
    "CMYK without Adobe": _without_adobe(CMYK),
}
PNGS = {
    **{mode: saved("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "palette of 4": saved("PNG", "P", PICTURE.quantize(4), bits=2),
    "palette of 16": saved("PNG", "P", PICTURE.quantize(16), bits=4),
    "transparent index": saved("PNG", "P", transparency=3),
    "transparent grey": saved("PNG", "L", transparency=90),
    "transparent colour": saved("PNG", transparency=(1, 2, 3)),
    "animated": _frames("PNG"),
}
WEBPS = {
    "lossy": saved("WEBP"),
    "lossless": saved("WEBP", lossless=True),
    "alpha": saved("WEBP", "RGBA", lossless=True),
    "animated": _frames("WEBP", lossless=True),
}
GIFS = {
    "one image": saved("GIF"),
    "grey": saved("GIF", "L"),
    "animated": _frames("GIF"),
    "interlaced": saved("GIF", interlace=True),
    "a part of the screen": _gif((24, 32), (5, 8), (12, 16)),
    "a part of a coloured screen": _gif((24, 32), (5, 8), (12, 16), background=7),
    "transparent": _gif((12, 16), (0, 0), (12, 16), transparent=3),
    "larger than the screen": _gif((8, 8), (0, 0), (12, 16)),
}
TIFFS = {
    **{
        f"mode {mode}": saved("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
    },
    **{
        f"compression {name}": saved("TIFF", compression=name)
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    },
    "fax": saved("TIFF", "1", compression="group4"),
}
OTHERS = {
    "AVIF": saved("AVIF"),
    "AVIF with alpha": saved("AVIF", "RGBA"),
    "JPEG 2000": saved("JPEG2000"),
    "JPEG 2000, lossy": saved("JPEG2000", irreversible=True),
    "JPEG 2000, grey": saved("JPEG2000", "L"),
    "PPM": saved("PPM"),
    "PGM": saved("PPM", "L"),
    "PBM": saved("PPM", "1"),
}
VARIANTS = {
    f"{kind}: {name}": content
    for kind, files in (
        ("JPEG", JPEGS),
        ("PNG", PNGS),
        ("WebP", WEBPS),
        ("GIF", GIFS),
        ("TIFF", TIFFS),
        ("other", OTHERS),
    )
    for name, content in files.items()
}
"""Contents by variant; Pillow's pixels of each are right."""

OF_16_BITS = {
    kind: saved(kind, "I;16", Image.fromarray(GREY_16)) for kind in ("PNG", "TIFF", "PPM")
}
"""Grey of 16 bits, of which Pillow's conversion keeps only the lowest."""
