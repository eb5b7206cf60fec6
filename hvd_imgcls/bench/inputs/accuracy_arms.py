"""Row f of `bench input`: how close decoded windows are to Pillow's antialiased resize.

    python -m hvd_imgcls.bench.inputs.accuracy_arms FOLDER RESULT.json

FOLDER has a folder of JPEG files for every size. The result has the PSNR of every picture and
window in dB, by size, kind of window and way of decoding.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hvd_imgcls.bench.inputs.pictures import read_pictures
from hvd_imgcls.bench.inputs.ways import BEFORE, DRAFT, STORED, Kind
from hvd_imgcls.bench.inputs.window_decoding import (
    Pixels,
    box_of,
    by_pillow,
    by_pillow_draft,
    our_decoding,
)

# Random windows per picture.
NUM_WINDOWS = 4
# Of equal images, whose PSNR is infinite.
MAX_PSNR = 100.0
# By size in pixels, kind of window and way of decoding.
Accuracies = dict[str, dict[str, dict[str, list[float]]]]


def psnr(image: Pixels, reference: Pixels) -> float:
    """Returns the peak signal-to-noise ratio of two images in dB, at most 100.

    Args:
        image: uint8.
        reference: Of the same shape.
    """
    error = np.mean((image.astype(np.float64) - reference) ** 2)
    return min(10 * math.log10(255**2 / error), MAX_PSNR) if error else MAX_PSNR


def accuracies(pictures: Sequence[bytes], kind: Kind) -> dict[str, list[float]]:
    """Returns the PSNR of every picture and window, by way of decoding.

    Args:
        pictures: JPEG files.
        kind: Kind of window.
    """
    from PIL import Image

    ours = {name: tf.function(our_decoding(name, kind)) for name in (STORED, BEFORE)}
    found: dict[str, list[float]] = {name: [] for name in (*ours, DRAFT)}
    for number, content in enumerate(pictures):
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
        for window in range(NUM_WINDOWS if kind == "random" else 1):
            example = number * NUM_WINDOWS + window
            box = box_of(size, example, kind)
            reference = by_pillow(content, box)
            for name, decode in ours.items():
                pixels = decode(tf.constant(content), tf.constant(example, tf.int64)).numpy()
                found[name].append(psnr(pixels, reference))
            found[DRAFT].append(psnr(by_pillow_draft(content, box), reference))
    return found


def main(words: list[str]) -> None:
    """Compares all pictures and writes the result."""
    folder, result = words
    found: Accuracies = {}
    for of_size in sorted(Path(folder).iterdir(), key=lambda path: int(path.name)):
        pictures = read_pictures(of_size)
        found[of_size.name] = {
            "centre": accuracies(pictures, "centre"),
            "random": accuracies(pictures, "random"),
        }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
