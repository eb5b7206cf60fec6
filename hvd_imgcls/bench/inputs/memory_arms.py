"""Row h of `bench input`: memory while one picture is decoded.

    python -m hvd_imgcls.bench.inputs.memory_arms ARM centre|random FOLDER RESULT.json

The result is the peak resident set size during every decoding, minus that before and the size of
the decoded window, in bytes. The kernel's peak (VmHWM) is reset before each. With the environment
variables `EXACT_MEMORY`, blocks are returned to the system as soon as they are freed, so that no
picture uses the memory of an earlier one.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import tensorflow as tf
from PIL import Image

from hvd_imgcls.bench.inputs.pictures import read_pictures
from hvd_imgcls.bench.inputs.ways import DRAFT, Kind
from hvd_imgcls.bench.inputs.window_decoding import (
    IMAGE_SIZE,
    box_of,
    by_pillow_draft,
    our_decoding,
)

# Windows per picture, if they are random.
NUM_WINDOWS = 8
_OUTPUT_BYTES = IMAGE_SIZE * IMAGE_SIZE * 3


def peaks(take: Callable[[], object], number: int) -> list[int]:
    """Returns the peak memory of every call of a function, above that before it.

    Args:
        take: Decodes a window and returns it.
        number: Number of calls.

    Returns:
        Bytes, without those of the window.
    """
    found = []
    for _ in range(number):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = resident("VmRSS")
        image = take()
        found.append(resident("VmHWM") - before - _OUTPUT_BYTES)
        del image
    return found


def resident(what: str) -> int:
    """Returns a size from this process's status file in bytes, such as VmRSS."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def decoder(name: str, kind: Kind, work: Sequence[tuple[bytes, int]]) -> Callable[[], object]:
    """Returns a function that decodes the next picture.

    Args:
        name: Way of decoding.
        kind: Kind of window.
        work: JPEG files, and the numbers of their windows.
    """
    if name == DRAFT:
        boxes = []
        for content, example in work:
            with Image.open(io.BytesIO(content)) as image:
                boxes.append((content, box_of(image.size, example, kind)))
        rest = iter(boxes)
        return lambda: by_pillow_draft(*next(rest))
    decode = tf.function(our_decoding(name, kind))
    # As tensors, which are not copied.
    arguments = iter(
        [(tf.constant(content), tf.constant(example, tf.int64)) for content, example in work]
    )
    return lambda: decode(*next(arguments))


def main(words: list[str]) -> None:
    """Measures one arm and writes the result."""
    name, kind_of_window, folder, result = words
    kind = cast(Kind, kind_of_window)
    pictures = read_pictures(Path(folder))
    buffer = io.BytesIO()
    Image.new("RGB", (500, 375)).save(buffer, format="JPEG")
    windows = range(NUM_WINDOWS if kind == "random" else 1)
    work = [
        (content, len(windows) * number + window)
        for number, content in enumerate(pictures)
        for window in windows
    ]
    warm_up = [(buffer.getvalue(), 0)] * 3
    take = decoder(name, kind, [*warm_up, *work])
    for _ in warm_up:
        take()
    Path(result).write_text(json.dumps(peaks(take, len(work))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
