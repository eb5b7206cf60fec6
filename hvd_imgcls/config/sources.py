"""The sources of images that a pipeline chooses by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, NonEmptyStr, OpenFraction, Seed


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class DigitsSource:
    """1,797 scanned handwritten digits of 8 by 8 pixels that come with scikit-learn."""

    name: Literal["digits"]
    """Which source this is."""

    held_out_fraction: OpenFraction = 0.2
    """Fraction of the images of every class that is held out of training, for evaluation."""

    split_seed: Seed = 0
    """Seed of the choice which images are held out. Change it for another split."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ImageFolderSource:
    """Image files in one folder per class, such as `cats/1.jpg` and `dogs/1.jpg`.

    The classes are the names of the folders, sorted by their bytes. Folders inside a
    class folder belong to the class.
    """

    name: Literal["image_folder"]
    """Which source this is."""

    path: NonEmptyStr
    """The folder that holds the class folders or, with the next two, the folders of the splits.

    `~` is the home directory.
    """

    train_folder: NonEmptyStr | None = None
    """Folder inside `path` with the training images, such as `train`. Needs the next one too."""

    held_out_folder: NonEmptyStr | None = None
    """Folder inside `path` with the held-out images, such as `val` or `test`."""

    held_out_fraction: OpenFraction = 0.2
    """Without split folders: fraction of every class that is held out, for evaluation."""

    split_seed: Seed = 0
    """Without split folders: seed of the choice which images are held out."""

    def __post_init__(self) -> None:
        if (self.train_folder is None) != (self.held_out_folder is None):
            raise ValueError("train_folder and held_out_folder, or neither")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RecordsSource:
    """Record files that `hvd-imgcls prepare` wrote, with the splits that they were written with."""

    name: Literal["records"]
    """Which source this is."""

    path: NonEmptyStr
    """The folder of the files. `~` is the home directory."""


Source = Annotated[
    DigitsSource | ImageFolderSource | RecordsSource, pydantic.Field(discriminator="name")
]
