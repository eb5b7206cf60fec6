"""Image files for tests: small, made on the spot, each with pixels of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


def write_image(path: Path, number: int, size: tuple[int, int] = (24, 32)) -> None:
    """Writes an image whose kind is that of the suffix and whose pixels follow `number`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.suffix, number, size))


def encoded(suffix: str, number: int, size: tuple[int, int] = (24, 32)) -> bytes:
    """Returns the content of such a file."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack(
        [rows * 8 + number, columns * 7 + 3 * number, rows * 3 + columns * 5], axis=-1
    ).astype(np.uint8)
    if suffix == ".png":
        return tf.io.encode_png(pixels).numpy()
    return tf.io.encode_jpeg(pixels, quality=95).numpy()


def write_class_folders(root: Path, counts: dict[str, int], suffix: str = ".jpg") -> None:
    """Writes `counts[name]` images into every class folder `root/name`."""
    for label, (name, count) in enumerate(counts.items()):
        for number in range(count):
            write_image(root / name / f"{number:03}{suffix}", 20 * label + number)
