"""The arms of row g of `bench input`: windows of JPEG files decoded in one thread.

    python -m hvd_imgcls.bench.inputs.antialias_arms CORE ARM centre|random FOLDER IMAGES BATCH

The files are in memory. ARM is a way of decoding; see `window_decoding`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import tensorflow as tf

from hvd_imgcls.bench.inputs.pictures import read_pictures
from hvd_imgcls.bench.inputs.ways import DRAFT, Kind
from hvd_imgcls.bench.inputs.window_decoding import box_of, by_pillow_draft, our_decoding
from hvd_imgcls.bench.measuring.window import Turns

# Random windows, which are repeated.
NUM_EXAMPLES = 256


def in_dataset(
    name: str, kind: Kind, pictures: Sequence[bytes], batch_size: int
) -> Callable[[int], None]:
    """Returns a function that takes images from our decoding in a `map` with one thread.

    Args:
        name: Way of decoding.
        kind: Kind of window.
        pictures: JPEG files.
        batch_size: Images per batch.
    """
    decode, number = our_decoding(name, kind), len(pictures)
    examples = tf.data.Dataset.range(NUM_EXAMPLES).repeat()
    contents = tf.constant(pictures)
    images = examples.map(
        lambda example: decode(contents[example % number], example), num_parallel_calls=1
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    batches = iter(images.batch(batch_size).with_options(options))

    def take(number: int) -> None:
        for _ in range(number // batch_size):
            next(batches)

    return take


def in_pillow(kind: Kind, pictures: Sequence[bytes], batch_size: int) -> Callable[[int], None]:
    """Returns a function that decodes with Pillow's draft mode, in a loop in Python.

    Args:
        kind: Kind of window.
        pictures: JPEG files.
        batch_size: Images per batch.
    """
    import io

    from PIL import Image

    boxes = []
    for example in range(NUM_EXAMPLES):
        content = pictures[example % len(pictures)]
        with Image.open(io.BytesIO(content)) as image:
            boxes.append((content, box_of(image.size, example, kind)))
    endless = itertools.cycle(boxes)

    def take(number: int) -> None:
        for _ in range(number // batch_size):
            np.stack([by_pillow_draft(*next(endless)) for _ in range(batch_size)])

    return take


def main(words: list[str]) -> None:
    """Runs one arm."""
    core, name, kind_of_window, folder, images, batch = words
    turns, kind = Turns(int(core)), cast(Kind, kind_of_window)
    pictures, batch_size = read_pictures(Path(folder)), int(batch)
    if name == DRAFT:
        take = in_pillow(kind, pictures, batch_size)
    else:
        take = in_dataset(name, kind, pictures, batch_size)

    def work() -> int:
        take(int(images))
        return int(images)

    turns.serve(work)


if __name__ == "__main__":
    main(sys.argv[1:])
