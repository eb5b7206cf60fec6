"""Every call of the checkpoint store to the file system."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO

from hvd_imgcls.files.outside import MAX_ENTIRE_BYTES, MIB, open_regular

_DIRECT = getattr(os, "O_DIRECT", 0)
"""Linux only."""


class Disk:
    """The file system. Tests replace methods to inject faults between and within calls.

    All methods raise OSError.

    Attributes:
        piece_bytes: The most that is given to one call of `write` or `read_into`, in bytes.
        is_direct: Whether whole pieces are written past the page cache, where the file system can
            do that: filling the cache takes more time of a core than all else.
    """

    piece_bytes = 4 * MIB
    is_direct = True

    def create(self, path: Path) -> int:
        """Creates an empty file, which must not exist, and returns its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o666)

    def write(self, file: int, piece: memoryview) -> int:
        """Writes the beginning of a piece and returns how many bytes that were, at least one.

        Args:
            file: The descriptor of a file that was created.
            piece: At most `piece_bytes`, from the beginning of a page of memory.
        """
        is_whole = len(piece) == self.piece_bytes
        if not (self.is_direct and is_whole and _set_direct(file, True)):
            _set_direct(file, False)
            return os.write(file, piece)
        try:
            return os.write(file, piece)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        _set_direct(file, False)
        return os.write(file, piece)

    def sync(self, file: int) -> None:
        """Returns when the content of a file is on the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Closes a file that was created."""
        os.close(file)

    def make_directory(self, path: Path) -> None:
        """Creates a directory, which must not exist."""
        os.mkdir(path)

    def sync_directory(self, path: Path) -> None:
        """Returns when the names in a directory are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, destination: Path) -> None:
        """Renames a file or directory; a file replaces a file of that name."""
        os.rename(source, destination)

    def unlink(self, path: Path) -> None:
        """Removes a file, or a link."""
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        """Removes an empty directory."""
        os.rmdir(path)

    def names(self, path: Path) -> list[str]:
        """Returns the names in a directory, in any order."""
        return os.listdir(path)

    def is_directory(self, path: Path) -> bool:
        """Returns whether this is a directory; a link to one is not."""
        return stat.S_ISDIR(os.lstat(path).st_mode)

    def exists(self, path: Path) -> bool:
        """Returns whether there is anything of this name."""
        return os.path.lexists(path)

    def open(self, path: Path, max_bytes: int = MAX_ENTIRE_BYTES) -> BinaryIO:
        """Opens a regular file for reading; never waits.

        Args:
            path: The file.
            max_bytes: Its largest size, in bytes.
        """
        return open_regular(path, max_bytes)

    def size(self, file: BinaryIO) -> int:
        """Returns the size of an open file, in bytes."""
        return os.fstat(file.fileno()).st_size

    def read_into(self, file: BinaryIO, piece: memoryview) -> int:
        """Reads into the beginning of a piece and returns how many bytes; 0 at the end."""
        return os.readv(file.fileno(), [piece])


def _set_direct(file: int, is_direct: bool) -> bool:
    """Sets whether writing bypasses the page cache; returns whether that is possible."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    wanted = flags | _DIRECT if is_direct else flags & ~_DIRECT
    if wanted == flags:
        return True
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, wanted)
    except OSError:
        return False
    return True
