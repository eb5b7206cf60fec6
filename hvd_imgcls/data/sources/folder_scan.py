"""Scans class folders for image files, in an order independent of locale and file system."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hvd_imgcls.data.sources.file_source import printable
from hvd_imgcls.errors import ConfigError, DataError

# By name only: readers find out what a file really contains.
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_HEIC = (".heic", ".heif", ".hif")
_OTHERS = (".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jxl")
_PORTABLE = (".ppm", ".pgm", ".pbm", ".pnm")
IMAGE_SUFFIXES = frozenset((*_JPEG, *_JPEG_2000, *_HEIC, *_OTHERS, *_PORTABLE))


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderProblem:
    """Something about a class folder that prevents training.

    Attributes:
        what: The folder and what is wrong with it.
        fix: What to do about it, as an imperative.
    """

    what: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """Contents of a folder of class folders.

    Attributes:
        class_names: Names of the class folders, sorted.
        files: Image files of each class, relative to the folder, sorted.
        left_out: Number of other files, by suffix.
        problems: Unreadable folders and classes without images.
    """

    class_names: list[str]
    files: list[list[str]]
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[FolderProblem] = field(default_factory=list)


def describe_problems(problems: Sequence[FolderProblem]) -> str:
    """Returns one message for all problems.

    Args:
        problems: At least one.
    """
    if len(problems) == 1:
        return f"{problems[0].what}; {problems[0].fix}"
    lines = "\n  ".join(problem.what for problem in problems)
    fixes = "; ".join(dict.fromkeys(problem.fix for problem in problems))
    return f"{len(problems):,} problems with class folders:\n  {lines}\n  to fix it: {fixes}"


def scan_class_folders(folder: Path, key: str) -> Scan:
    """Scans every class folder and its subfolders.

    Hidden files and folders, whose names begin with a dot, are skipped silently.

    Args:
        folder: Folder with one folder per class.
        key: Configuration key that names it, for error messages.

    Raises:
        ConfigError: If the folder cannot be read.
        DataError: If there are no classes. Other problems are in the result.
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
    if not scan.class_names:
        raise DataError(
            f"{folder}: no class folders in it; put the images of each class into a separate "
            "folder, such as cats/1.jpg and dogs/1.jpg"
        )
    for name in scan.class_names:
        num_problems = len(scan.problems)
        scan.files.append(_images_of_class(folder, name, scan))
        if not scan.files[-1] and len(scan.problems) == num_problems:
            scan.problems.append(
                FolderProblem(
                    what=f"{printable(folder / name)}: no image files in it",
                    fix=f"remove the folder or add images ({', '.join(sorted(IMAGE_SUFFIXES))})",
                )
            )
    return scan


def _images_of_class(folder: Path, name: str, scan: Scan) -> list[str]:
    """Returns the images of a class; what is left out and what is wrong is added to the scan."""
    images = []
    for file, can_be_read in _walk(folder, name, frozenset(), scan.problems):
        if not can_be_read:
            scan.left_out["pipe, socket or device"] += 1
        elif _suffix(file) in IMAGE_SUFFIXES:
            images.append(file)
        else:
            scan.left_out[_suffix(file) or "without a suffix"] += 1
    return images


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _walk(
    root: Path, inside: str, above: frozenset[tuple[int, int]], problems: list[FolderProblem]
) -> Iterator[tuple[str, bool]]:
    """Yields the entries below `root / inside` and whether each is a file or link, not a pipe.

    Names are relative to `root`. Links are followed, but not in cycles. Folders that cannot be
    read are added to `problems`.
    """
    path = root / inside
    try:
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        entries = [(e, _is_folder(e)) for e in sorted(os.scandir(path), key=_bytes_of)]
    except OSError as error:
        problems.append(
            FolderProblem(
                what=f"{printable(error.filename or path)}: cannot be read ({error.strerror})",
                fix="make it readable or remove it",
            )
        )
        return
    for entry, is_folder in entries:
        relative = f"{inside}/{entry.name}"
        if entry.name[0] == ".":
            continue
        if is_folder:
            yield from _walk(root, relative, above | {identity}, problems)
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
