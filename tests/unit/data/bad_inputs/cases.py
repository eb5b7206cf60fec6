"""What a table of inputs consists of: a file, and what is expected to come of it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
PIXELS = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Good:
    """An image that training reads.

    Attributes:
        content: The file.
        kind: Its format, as `check-data` calls it.
        remark: What `check-data` remarks; "" for nothing.
        size: Height and width.
    """

    content: bytes
    kind: str
    remark: str = ""
    size: tuple[int, int] = (HEIGHT, WIDTH)


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A file that training cannot read.

    Attributes:
        content: The file.
        check: Part of what `check-data` says.
        train: Part of what training says; that of `check` if None.
    """

    content: bytes
    check: str
    train: str | None = None


def saved(kind, mode="RGB", pixels=PIXELS, **options):
    """Returns an image as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def animated(kind):
    """Returns three images in one file."""
    images = [Image.fromarray(np.roll(PIXELS, n, axis=1)) for n in range(3)]
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:])
    return file.getvalue()


UNKNOWN = "unknown image format, or damaged"
SLOW = "decoded by Pillow, slowly"
