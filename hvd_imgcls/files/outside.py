"""Opens files that come from outside: only regular ones, not larger than they may be.

A path of a user or of somebody's run directory may lead to a pipe, whose opening waits forever,
to a device that never ends, or to a file that does not fit into memory.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

KIB, MIB, GIB = 2**10, 2**20, 2**30

MAX_SETTINGS_BYTES = 4 * MIB
"""Largest pipeline file or other file written by hand, in bytes."""

MAX_NAMES_BYTES = 64 * MIB
"""Largest list of class names, in bytes: a million names of 64 bytes."""

MAX_LIST_BYTES = GIB
"""Largest list of paths or JSON file, in bytes: ten million paths of 100 bytes."""

MAX_RESULTS_BYTES = 256 * MIB
"""Largest file of a run directory that is read as a whole, in bytes: the curves and the
confusion matrix of the largest evaluation take a tenth of it."""

MAX_IMAGE_BYTES = GIB
"""Largest image file, in bytes: uncompressed, the largest image that is decoded takes less."""

MAX_ENTIRE_BYTES = 2**63 - 1
"""For files that are read in pieces or by a library: any size."""

_PIECE = 4 * MIB
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnsuitableFileError(OSError):
    """A file is not regular, too large, or cannot be read without waiting."""

    def __init__(self, number: int, reason: str, path: Path) -> None:
        super().__init__(number, reason, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: Path, max_bytes: int = MAX_ENTIRE_BYTES) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading. Never waits.

    Args:
        path: The file.
        max_bytes: Its largest size, in bytes.

    Raises:
        UnsuitableFileError: If it is no regular file, or larger.
        OSError: If it does not exist, or cannot be read.
    """
    _require_possible(path)
    # Before opening, which has effects on some devices; and after it, of what was really opened.
    _require_suitable(path, os.stat(path), max_bytes)
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_suitable(path, os.fstat(descriptor), max_bytes)
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: Path, max_bytes: int = MAX_ENTIRE_BYTES) -> None:
    """Raises an error for a file that a library is about to open, like `open_regular`.

    Args:
        path: The file.
        max_bytes: Its largest size, in bytes.

    Raises:
        UnsuitableFileError: If it is no regular file, larger, or claims to be empty but is not,
            like the files of `/proc`.
        OSError: If it does not exist, or cannot be read.
    """
    with open_regular(path, max_bytes) as file:
        if not os.fstat(file.fileno()).st_size:
            read_bounded(file, path, 0)


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Returns the content of a regular file.

    Args:
        path: The file.
        max_bytes: Its largest size, in bytes.

    Raises:
        UnsuitableFileError: If it is no regular file, or larger.
        OSError: If it does not exist, or cannot be read.
    """
    with open_regular(path, max_bytes) as file:
        return read_bounded(file, path, max_bytes)


def read_text(path: Path, max_bytes: int, encoding: str = "utf-8") -> str:
    """Returns the content of a regular text file, with line breaks as in Python.

    Args:
        path: The file.
        max_bytes: Its largest size, in bytes.
        encoding: Its encoding.

    Raises:
        UnsuitableFileError: If it is no regular file, or larger.
        OSError: If it does not exist, or cannot be read.
        UnicodeDecodeError: If it is not text in this encoding.
    """
    text = read_bytes(path, max_bytes).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bounded(file: BinaryIO, path: Path, max_bytes: int) -> bytes:
    """Returns the rest of an open file, read in pieces, so that an endless one is noticed.

    Args:
        file: The file, such as standard input.
        path: Its name, for the error.
        max_bytes: The most that it may contain.

    Raises:
        UnsuitableFileError: If it contains more, or reading it would wait.
        OSError: If it cannot be read.
    """
    content = io.BytesIO()
    while True:
        piece = file.read(min(_PIECE, max_bytes + 1 - content.tell()))
        if piece is None:
            raise UnsuitableFileError(errno.EAGAIN, "nothing to read: it waits for data", path)
        if not piece:
            return content.getvalue()
        content.write(piece)
        if content.tell() > max_bytes:
            raise _too_large(path, f"at least {max_bytes + 1:,} bytes", max_bytes)


def open_to_append(path: Path) -> BinaryIO:
    """Opens a regular file for appending, or creates it. Never waits and follows no link.

    Args:
        path: The file.

    Raises:
        UnsuitableFileError: If it is no regular file.
        OSError: If it is a link, or cannot be written.
    """
    _require_possible(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        _require_suitable(path, os.fstat(descriptor), MAX_ENTIRE_BYTES)
        return os.fdopen(descriptor, "ab")
    except BaseException:
        os.close(descriptor)
        raise


def kind_of(mode: int) -> str | None:
    """Returns what a file that is not regular is, as a noun phrase; None for regular files.

    Args:
        mode: `st_mode` of the file.
    """
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_of, kind in _KINDS if is_of(mode)), "no file")


def _require_suitable(path: Path, status: os.stat_result, max_bytes: int) -> None:
    kind = kind_of(status.st_mode)
    if kind == "a folder":
        raise UnsuitableFileError(errno.EISDIR, "a folder, not a file", path)
    if kind is not None:
        raise UnsuitableFileError(errno.EINVAL, f"{kind}, not a regular file", path)
    if status.st_size > max_bytes:
        raise _too_large(path, f"{status.st_size:,} bytes", max_bytes)


def _too_large(path: Path, got: str, max_bytes: int) -> UnsuitableFileError:
    reason = f"{got}, more than the {max_bytes:,} allowed" if max_bytes else "not a regular file"
    return UnsuitableFileError(errno.EFBIG, reason, path)


def _require_possible(path: Path) -> None:
    if "\0" in os.fspath(path):
        raise UnsuitableFileError(errno.EINVAL, "a path with a zero byte", path)
