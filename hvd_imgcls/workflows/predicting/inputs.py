"""Resolves the images given on the command line: files, folders, glob patterns, or a list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hvd_imgcls.data.sources.folder_scan import IMAGE_SUFFIXES, SYSTEM_FOLDERS
from hvd_imgcls.errors import ConfigError, DataError

STANDARD_INPUT = "-"


def list_images(words: Sequence[str], lines: Iterable[str]) -> list[str]:
    """Returns the image files given, in a fixed order and with duplicates.

    A file is taken unchanged, even if it does not exist: its row then holds the error. A folder
    stands for all files with an image suffix in it and its subfolders, in byte order of their
    paths, without hidden ones, without `SYSTEM_FOLDERS` and without following links to a folder
    twice. A pattern with `*`, `?` or `[` stands for its matches, sorted; `**` matches any folders.

    Args:
        words: Arguments of the command line; `-` stands for `lines`.
        lines: One path each; empty lines are skipped.

    Raises:
        DataError: If a folder or a pattern contains no image.
        ConfigError: If no input is given.
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
            expected="files, folders, glob patterns or - for a list",
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
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in SYSTEM_FOLDERS
        )
        found += [
            os.path.join(parent, name)
            for name in names
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    if not found:
        raise DataError(f"{folder}: no images in this folder; pass a folder with image files")
    return sorted(found, key=os.fsencode)


def _images_matching(pattern: str) -> list[str]:
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern; correct the pattern")
    return sorted(found, key=os.fsencode)
