"""Image files for the benchmarks: the user's photographs, or similar synthetic ones."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hvd_imgcls.errors import DataError

BATCH_SIZE = 64
MOST_FILES = 512
SYNTHETIC_FILES = 256
CLASSES = ("a", "b")
_SIZES = ((375, 500), (500, 375), (333, 500), (500, 500))


def link_photographs(folder: Path, destination: Path) -> int:
    """Links the JPEG files of a folder into class folders `train/` and `held_out/`.

    Their number is a multiple of the batch size, so that every epoch contains every file.

    Args:
        folder: Folder with JPEG files, in subfolders or not.
        destination: An empty folder.

    Returns:
        The number of training images.

    Raises:
        DataError: If there are too few.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    # The last two are held out: a source needs a held-out split with both classes.
    number = min(len(found) - len(CLASSES), MOST_FILES) // BATCH_SIZE * BATCH_SIZE
    if number <= 0:
        raise DataError(
            f"{folder}: {len(found)} JPEG files, expected at least {BATCH_SIZE + len(CLASSES)}; "
            "use a folder with more"
        )
    chosen = [found[i * (len(found) - len(CLASSES)) // number] for i in range(number)]
    for i, path in enumerate([*chosen, *found[-len(CLASSES) :]]):
        split = "train" if i < number else "held_out"
        link = destination / split / CLASSES[i % len(CLASSES)] / f"{i:05}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(path.resolve(), link)
    return number


def write_synthetic(destination: Path, number: int = SYNTHETIC_FILES + len(CLASSES)) -> None:
    """Writes seeded JPEG files that cost about as much to decode as photographs.

    Args:
        destination: A folder.
        number: Number of files.
    """
    for i in range(number):
        (destination / f"{i:05}.jpg").write_bytes(made_up_photograph(i))


def made_up_photograph(number: int, size: tuple[int, int] | None = None) -> bytes:
    """Returns a JPEG: noise with the spectrum of photographs.

    Amplitudes fall with 1 / frequency, as in natural images (Field 1987, J. Opt. Soc.
    Am. A 4:2379), colours vary less than brightness, and there are a few sharp edges.

    Args:
        number: Its seed.
        size: Height and width in pixels; about 375 by 500 when None.
    """
    from PIL import Image

    random = np.random.default_rng([0x70686F746F, number])
    height, width = size or _SIZES[random.integers(len(_SIZES))]
    rough = random.uniform(0.85, 1.15)
    planes = [_noise(random, height, width, rough) for _ in range(3)]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(6):
        angle, offset = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * width
        side = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle) > offset
        planes[0] += side * random.uniform(-0.8, 0.8)
    brightness = 128 + 48 * planes[0]
    colours = [brightness + 14 * planes[1], brightness, brightness + 14 * planes[2]]
    pixels = np.clip(np.stack(colours, axis=-1), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def _noise(
    random: np.random.Generator, height: int, width: int, rough: float
) -> npt.NDArray[np.float64]:
    """Returns noise with mean 0 and deviation 1 whose amplitude is 1 / frequency ** rough."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) / frequency**rough
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return noise / noise.std()
