"""Finds images that are no regular files: reading a pipe or a device waits, or never ends."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from hvd_imgcls.files.outside import UnsuitableFileError, kind_of, require_regular

# From so many files of a folder on, listing it is faster than looking at each: a listing says
# which entries are regular.
_MANY = 16


def special_files(root: Path, files: Sequence[str]) -> dict[int, str]:
    """Returns the pipes, sockets, devices and endless files among some files, and links to them.

    Missing files and folders are not among them: reading them fails at once. A million files in
    1,000 folders take about a second if they are no links.

    Args:
        root: The folder that they are relative to.
        files: Their paths.

    Returns:
        What each is, as a noun phrase, by its position in `files`.
    """
    in_folder: defaultdict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, file in enumerate(files):
        folder, name = os.path.split(file)
        in_folder[folder][name].append(position)
    found: dict[int, str] = {}
    for folder, positions_of in in_folder.items():
        path = os.path.join(root, folder)
        for name in _to_look_at(path, positions_of.keys()):
            what = what_is_special(Path(path, name))
            if what is not None:
                found.update(dict.fromkeys(positions_of[name], what))
    return found


def what_is_special(path: Path) -> str | None:
    """Returns what a file, or what a link leads to, is if it is no regular file or folder.

    None if it is one, or does not exist.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return None
        if stat.S_ISREG(status.st_mode) and not status.st_size:
            # Files of the kernel, such as /proc/kmsg, claim to be empty.
            require_regular(path)
    except UnsuitableFileError:
        return "a file of the kernel"
    except (OSError, ValueError):
        return None
    return kind_of(status.st_mode)


def _to_look_at(folder: str, names: Collection[str]) -> list[str]:
    """Returns the names that a listing of the folder does not show to be regular files."""
    if len(names) < _MANY:
        return list(names)
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if e.name in names and not _is_regular(e)]
    except OSError:
        return list(names)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)
