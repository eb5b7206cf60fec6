"""Scans class folders for image files, in an order independent of locale and file system."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hvd_imgcls.data.sources.special_files import what_is_special
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.text.printable import printable

_MAX_LISTED = 20

# By name only: readers find out what a file really contains.
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_HEIC = (".heic", ".heif", ".hif")
_OTHERS = (".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jxl")
_PORTABLE = (".ppm", ".pgm", ".pbm", ".pnm")
# Written by network storage, archives, file systems and desktops. Some contain thumbnails.
SYSTEM_FOLDERS = frozenset(
    (
        "@eaDir",
        "@Recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "__MACOSX",
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
    )
)
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
        problems: Unreadable folders, and classes with the same folder.
        system_folders: Number of folders of `SYSTEM_FOLDERS`, by name.
        folders: All folders with their class, by device and inode.
        links: Images that are links, by the path that they point to.
        empty: Names of the class folders without images, which are no classes.
    """

    class_names: list[str]
    files: list[list[str]]
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[FolderProblem] = field(default_factory=list)
    system_folders: Counter[str] = field(default_factory=Counter)
    folders: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)


def describe_problems(problems: Sequence[FolderProblem]) -> str:
    """Returns one message for all problems.

    Args:
        problems: At least one.
    """
    if len(problems) == 1:
        return f"{problems[0].what}; {problems[0].fix}"
    lines = "\n  ".join(problem.what for problem in problems[:_MAX_LISTED])
    if len(problems) > _MAX_LISTED:
        lines += f"\n  and {len(problems) - _MAX_LISTED:,} more"
    fixes = "; ".join(dict.fromkeys(problem.fix for problem in problems))
    return f"{len(problems):,} problems with class folders:\n  {lines}\n  to fix it: {fixes}"


def scan_class_folders(folder: Path, key: str) -> Scan:
    """Scans every class folder and its subfolders.

    Hidden files and folders, whose names begin with a dot, are skipped silently, and
    `SYSTEM_FOLDERS` with a note. A folder that a class contains twice, by a link, counts once.

    Args:
        folder: Folder with one folder per class.
        key: Configuration key that names it, for error messages.

    Raises:
        ConfigError: If the folder cannot be read.
        DataError: If there are no classes with images. Other problems are in the result.
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
    system = [entry.name for entry in entries if entry.name in SYSTEM_FOLDERS]
    entries = [entry for entry in entries if entry.name not in SYSTEM_FOLDERS]
    scan = Scan(class_names=[entry.name for entry in entries if _is_folder(entry)], files=[])
    scan.system_folders.update(system)
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
            scan.empty.append(name)
    if len(scan.empty) == len(scan.class_names):
        raise DataError(
            f"{printable(folder / scan.empty[0])}: no image files in it, nor in any other class "
            f"folder; add images ({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return scan


def _images_of_class(folder: Path, name: str, scan: Scan) -> list[str]:
    """Returns the images of a class; what is left out and what is wrong is added to the scan."""
    images = []
    for file, kind in _walk(folder, name, name, scan):
        if kind == "special":
            scan.left_out["pipe, socket or device"] += 1
        elif _suffix(file) in IMAGE_SUFFIXES:
            images.append(file)
            if kind == "link":
                scan.links[_target_of(folder / file)] = file
        else:
            scan.left_out[_suffix(file) or "without a suffix"] += 1
    return images


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _target_of(link: Path) -> str:
    """Returns the path that a link points to, with links in folders above it resolved."""
    folder = os.path.realpath(link.parent)
    return os.path.normpath(os.path.join(folder, os.readlink(link)))


def _walk(
    root: Path, inside: str, class_name: str, scan: Scan
) -> Iterator[tuple[str, Literal["file", "link", "special"]]]:
    """Yields the entries below `root / inside`: files, links, and pipes and the like.

    Names are relative to `root`. Links to folders are followed, but no folder is visited twice.
    Folders that cannot be read, or belong to two classes, are added to the problems of the scan.
    """
    path = root / inside
    try:
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in scan.folders:
            _note_second_visit(root, inside, class_name, scan.folders[identity], scan.problems)
            return
        scan.folders[identity] = inside, class_name
        entries = [(e, _is_folder(e)) for e in sorted(os.scandir(path), key=_bytes_of)]
    except OSError as error:
        scan.problems.append(
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
        if is_folder and entry.name in SYSTEM_FOLDERS:
            scan.system_folders[entry.name] += 1
        elif is_folder:
            yield from _walk(root, relative, class_name, scan)
        elif entry.is_symlink():
            # A broken link with the name of an image: reading it reports the error.
            yield relative, "link" if what_is_special(root / relative) is None else "special"
        else:
            # Reading a pipe would block forever.
            yield relative, "file" if entry.is_file() else "special"


def _note_second_visit(
    root: Path,
    inside: str,
    class_name: str,
    before: tuple[str, str],
    problems: list[FolderProblem],
) -> None:
    """Adds a problem if a folder that was visited before belongs to another class."""
    first, first_class = before
    if first_class != class_name:
        problems.append(
            FolderProblem(
                what=f"{printable(root / inside)}: the same folder as {printable(root / first)}, "
                "of another class",
                fix="remove one of the two",
            )
        )


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
