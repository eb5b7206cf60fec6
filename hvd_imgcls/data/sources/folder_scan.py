"""Scans class folders for image files, in an order independent of locale and file system."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hvd_imgcls.errors import ConfigError, DataError

# By name only: readers find out what a file really contains.
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_HEIC = (".heic", ".heif", ".hif")
_OTHERS = (".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jxl")
_PORTABLE = (".ppm", ".pgm", ".pbm", ".pnm")
IMAGE_SUFFIXES = frozenset((*_JPEG, *_JPEG_2000, *_HEIC, *_OTHERS, *_PORTABLE))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """Contents of a folder of class folders.

    Attributes:
        class_names: Names of the class folders, sorted.
        files: Image files of each class, relative to the folder, sorted.
        left_out: Number of other files, by suffix.
    """

    class_names: list[str]
    files: list[list[str]]
    left_out: Counter[str] = field(default_factory=Counter)


def scan_class_folders(folder: Path, key: str) -> Scan:
    """Scans every class folder and its subfolders.

    Hidden files and folders, whose names begin with a dot, are skipped silently.

    Args:
        folder: Folder with one folder per class.
        key: Configuration key that names it, for error messages.

    Raises:
        ConfigError: If the folder cannot be read.
        DataError: If there are no classes or a class has no images.
    """
    try:
        entries = sorted((e for e in os.scandir(folder) if e.name[0] != "."), key=_bytes_of)
    except OSError as error:
        raise ConfigError(
            key,
            got=f"{folder} ({error.strerror})",
            expected="a readable folder",
            fix="pass the folder that contains one subfolder per class",
        ) from error
    scan = Scan(class_names=[entry.name for entry in entries if _is_folder(entry)], files=[])
    scan.left_out.update(
        f"{_suffix(entry.name) or 'file'} next to the class folders"
        for entry in entries
        if not _is_folder(entry)
    )
    try:
        for name in scan.class_names:
            scan.files.append(_images_of_class(folder, name, scan.left_out))
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror}); make it readable or remove it"
        ) from error
    _require_images(scan, folder)
    return scan


def _images_of_class(folder: Path, name: str, left_out: Counter[str]) -> list[str]:
    images = []
    for file, can_be_read in _walk(folder, name, frozenset()):
        if not can_be_read:
            left_out["pipe, socket or device"] += 1
        elif _suffix(file) in IMAGE_SUFFIXES:
            images.append(file)
        else:
            left_out[_suffix(file) or "without a suffix"] += 1
    return images


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _walk(root: Path, inside: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """Yields the entries below `root / inside` and whether each is a file or link, not a pipe.

    Names are relative to `root`. Links are followed, but not in cycles.
    """
    path = root / inside
    status = path.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for entry in sorted(os.scandir(path), key=_bytes_of):
        relative = f"{inside}/{entry.name}"
        if entry.name[0] == ".":
            continue
        if _is_folder(entry):
            yield from _walk(root, relative, above | {identity})
        elif entry.is_symlink() or entry.is_file():
            # A broken link with the name of an image: reading it reports the error.
            yield relative, True
        else:
            # Reading a pipe would block forever.
            yield relative, False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a cycle of links counts as a broken link."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _bytes_of(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _require_images(scan: Scan, folder: Path) -> None:
    if not scan.class_names:
        raise DataError(
            f"{folder}: no class folders in it; put the images of each class into a separate "
            "folder, such as cats/1.jpg and dogs/1.jpg"
        )
    empty = [name for name, files in zip(scan.class_names, scan.files, strict=True) if not files]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise DataError(
            f"{folder / empty[0]}{more}: no image files in it; remove the folder or add images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
