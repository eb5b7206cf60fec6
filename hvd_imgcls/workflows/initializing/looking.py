"""Looks at a folder of images: classes, numbers, sizes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.data.sources.split_folders import find_splits
from hvd_imgcls.errors import DataError

NUM_SAMPLED = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What is in a folder.

    Attributes:
        source: The source that reads it.
        class_names: `[num_classes]`.
        train_counts: Training images of every class, `[num_classes]`.
        num_held_out: Number of held-out images.
        sides: Shorter sides of some images, in pixels, ascending.
        is_grey: Whether all of them are greyscale.
    """

    source: ImageFolderSource
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    num_held_out: int
    sides: tuple[int, ...]
    is_grey: bool

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return sum(self.train_counts)

    @property
    def median_side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return self.sides[len(self.sides) // 2]


def look_at(folder: Path) -> Seen:
    """Counts the images of a folder and reads the headers of some.

    Args:
        folder: One folder per class, or folders such as `train` and `val` with such folders.

    Raises:
        DataError: If there are no classes, or no image can be read.
    """
    splits = find_splits(folder.expanduser())
    source = ImageFolderSource(
        name="image_folder",
        path=str(folder),
        train_folder=splits[0] if splits else None,
        held_out_folder=splits[1] if splits else None,
    )
    images = open_image_folder(source)
    counts = np.bincount(images.labels("train"), minlength=len(images.class_names))
    sides, is_grey = _headers(images)
    if not sides:
        raise DataError(f"{folder}: none of {NUM_SAMPLED} images can be read; see check-data")
    return Seen(
        source=source,
        class_names=tuple(images.class_names),
        train_counts=tuple(counts.tolist()),
        num_held_out=images.num_examples("held_out"),
        sides=sides,
        is_grey=is_grey,
    )


def _headers(images: FileSource) -> tuple[tuple[int, ...], bool]:
    """Returns the shorter sides of some training images, and whether all are greyscale."""
    from PIL import Image

    number = images.num_examples("train")
    sides, modes = [], set()
    for example in _some(number):
        try:
            with warnings.catch_warnings(), Image.open(images.path_of("train", example)) as image:
                warnings.simplefilter("ignore")
                sides.append(min(image.size))
                modes.add(image.mode)
        except Exception:  # Pillow's plug-ins raise arbitrary exceptions; training will report it.
            continue
    return tuple(sorted(sides)), modes <= {"1", "L", "I;16", "LA"}


def _some(number: int) -> Sequence[int]:
    return sorted({number * i // NUM_SAMPLED for i in range(NUM_SAMPLED)}) if number else ()
