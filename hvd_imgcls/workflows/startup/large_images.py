"""Points out photographs that are far larger than the network needs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.files.outside import MAX_IMAGE_BYTES, open_regular, read_bytes

# Sides that many times those of the network's input cost time, and add nothing that can be seen.
TIMES_TOO_LARGE = 4
_NUM_SAMPLED, _NUM_MEASURED, _REPETITIONS = 32, 3, 3
_QUALITY = 95  # the default of `prepare`


def note_on_large_images(source: ImageSource, config: RunConfig) -> str | None:
    """Returns a note if at least half of the training images are too large, else None.

    Looks at a few of them and measures what `prepare` would save, in at most some seconds.

    Args:
        source: The images.
        config: Defines the size that the network needs.
    """
    size = config.data.image_size
    if not isinstance(source, FileSource) or size is None or not source.num_examples("train"):
        return None
    number = source.num_examples("train")
    some = sorted({number * i // _NUM_SAMPLED for i in range(_NUM_SAMPLED)})
    paths = [source.path_of("train", example) for example in some]
    sides = [(path, shorter_side(path)) for path in paths]
    return note_on_large_files(sides, size, f"{len(sides)} training images looked at")


def note_on_large_files(
    sides: Sequence[tuple[Path, int]], image_size: int, what: str
) -> str | None:
    """Returns a note if at least half of the files are too large, else None.

    It has the command that makes them smaller, and what that saves, measured on some of them.

    Args:
        sides: Files with their shorter sides in pixels.
        image_size: Height and width of the network's images, in pixels.
        what: What the files are.
    """
    smallest = TIMES_TOO_LARGE * image_size
    paths = [path for path, side in sides if side >= smallest]
    if not paths or 2 * len(paths) < len(sides):
        return None
    max_side = 64 * -(-9 * image_size // 256)
    measured = _measure(paths, image_size, max_side)
    if measured is None:
        return None
    (now_bytes, now_ms), (then_bytes, then_ms) = measured
    return (
        f"{len(paths):,} of {what} have a shorter side of at least {smallest} pixels, "
        f"{TIMES_TOO_LARGE} times that of the network's images; `hvd-imgcls prepare SOURCE DEST "
        f"--max-side {max_side}` would make them smaller: {now_bytes / 1e6:.2f} to "
        f"{then_bytes / 1e6:.2f} MB and {now_ms:.1f} to {then_ms:.1f} ms of decoding per image "
        f"({_NUM_MEASURED} measured)"
    )


def shorter_side(path: Path) -> int:
    """Returns the shorter side of an image in pixels, from its header; 0 if it has none."""
    from PIL import Image

    try:
        with (
            warnings.catch_warnings(),
            open_regular(path, MAX_IMAGE_BYTES) as file,
            Image.open(file) as image,
        ):
            warnings.simplefilter("ignore")
            return min(image.size)
    except Exception:  # Pillow's plug-ins raise arbitrary exceptions; reading will report it.
        return 0


def _measure(
    paths: Sequence[Path], image_size: int, max_side: int
) -> list[tuple[float, float]] | None:
    """Returns the mean size in bytes and milliseconds of decoding, now and after `prepare`."""
    import tensorflow as tf

    from hvd_imgcls.data.bad_examples.unreadable import READ_ERRORS
    from hvd_imgcls.data.decoding.decode import decode_shrunk, decode_window
    from hvd_imgcls.data.decoding.options import DecodingOptions
    from hvd_imgcls.data.decoding.windows import centre_window

    def decode(contents: tf.Tensor) -> tf.Tensor:
        options = DecodingOptions()
        return decode_window(contents, lambda size: centre_window(size, 0.875), image_size, options)

    signature = [tf.TensorSpec([], tf.string)]
    decode = tf.function(decode, autograph=False, input_signature=signature)

    chosen = [paths[len(paths) * i // _NUM_MEASURED] for i in range(min(_NUM_MEASURED, len(paths)))]
    try:
        before = [tf.constant(read_bytes(path, MAX_IMAGE_BYTES)) for path in chosen]
        shrunk = (decode_shrunk(contents, max_side, DecodingOptions()) for contents in before)
        after = [tf.io.encode_jpeg(image, quality=_QUALITY) for image in shrunk]
        return [(_mean_bytes(files), _milliseconds(decode, files)) for files in (before, after)]
    except READ_ERRORS:
        return None


def _mean_bytes(files: Sequence[object]) -> float:
    return float(np.mean([len(contents.numpy()) for contents in files]))  # type: ignore[attr-defined]


def _milliseconds(decode: Callable[[object], object], files: Sequence[object]) -> float:
    """Returns the best of several times per image."""
    decode(files[0])
    times = []
    for _ in range(_REPETITIONS):
        begin = time.perf_counter()
        for contents in files:
            decode(contents)
        times.append((time.perf_counter() - begin) / len(files))
    return 1000 * min(times)
