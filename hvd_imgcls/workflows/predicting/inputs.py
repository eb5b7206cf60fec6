"""Which images a command line means: files, folders, patterns, or a list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hvd_imgcls.data.sources.folder_scan import IMAGE_SUFFIXES
from hvd_imgcls.errors import ConfigError, DataError

STANDARD_INPUT = "-"


def list_images(words: Sequence[str], lines: Iterable[str]) -> list[str]:
    """Returns the image files that are meant, in a fixed order; the same file twice stays twice.

    A file is taken as it is, also one that is not there: its row will say so. A folder means all
    files in it with the suffix of an image, and in the folders in it, by the bytes of their
    paths; hidden ones are passed over, and a folder that links lead to again. A pattern with
    `*`, `?` or `[` means what it matches, sorted; `**` any folders.

    Args:
        words: Of the command line; `-` stands for `lines`.
        lines: A path in each; empty ones are passed over.

    Raises:
        DataError: If a folder or a pattern has no image.
        ConfigError: If nothing is meant.
    """
    images: list[str] = []
    for word in words:
        if word == STANDARD_INPUT:
            images += [line.rstrip("\r\n") for line in lines if line.strip()]
        elif os.path.isdir(word):
            images += _images_below(word)
        elif glob.has_magic(word) and not os.path.lexists(word):
            images += _images_matching(word)
        else:
            images.append(word)
    if not images:
        raise ConfigError(
            "IMAGES",
            got="none",
            expected="files, folders, patterns or - for a list",
            fix="add some",
        )
    return images


def _images_below(folder: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(parent, name)
            for name in names
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    if not found:
        raise DataError(f"{folder}: no image in this folder; give one that has image files")
    return sorted(found, key=os.fsencode)


def _images_matching(pattern: str) -> list[str]:
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern; correct it")
    return sorted(found, key=os.fsencode)
