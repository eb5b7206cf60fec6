"""Reads the files of a checkpoint in pieces. Nothing is allocated for more than a file contains."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError, reading
from hvd_imgcls.files.outside import MAX_ENTIRE_BYTES


class FileReader:
    """An open file of a checkpoint.

    Args:
        path: The file.
        file: The same, open.
        disk: The file system.

    Attributes:
        size: Its size when it was opened, in bytes.
    """

    def __init__(self, path: Path, file: BinaryIO, disk: Disk) -> None:
        self._path = path
        self._file = file
        self._disk = disk
        self._hasher = hashlib.sha256()
        with reading(path):
            self.size = disk.size(file)

    def fill(self, buffer: memoryview) -> None:
        """Reads the next bytes of the file.

        Args:
            buffer: Where to; all of it is filled.

        Raises:
            CheckpointError: If the file ends before, or cannot be read.
        """
        done = 0
        while done < len(buffer):
            piece = buffer[done : done + self._disk.piece_bytes]
            with reading(self._path):
                count = self._disk.read_into(self._file, piece)
            if not count:
                raise DamagedCheckpointError(self._path, "shorter than when it was opened")
            self._hasher.update(piece[:count])
            done += count

    def require_size(self, expected: int) -> None:
        """Raises a CheckpointError if the file has another size than was written, in bytes."""
        if self.size != expected:
            problem = "truncated" if self.size < expected else "too long"
            raise DamagedCheckpointError(
                self._path, f"{problem}: {self.size:,} bytes, expected {expected:,}"
            )

    def require_digest(self, expected: str) -> None:
        """Raises a CheckpointError if what was read so far has another SHA-256 than expected."""
        if self._hasher.hexdigest() != expected:
            raise DamagedCheckpointError(
                self._path, "damaged: its SHA-256 is not the one in the manifest"
            )


@contextlib.contextmanager
def open_file(path: Path, disk: Disk, max_bytes: int = MAX_ENTIRE_BYTES) -> Iterator[FileReader]:
    """Yields an open file of a checkpoint.

    Args:
        path: The file.
        disk: The file system.
        max_bytes: Its largest size, in bytes.

    Raises:
        CheckpointError: If it is missing, larger, no regular file, or cannot be read.
    """
    with reading(path):
        file = disk.open(path, max_bytes)
    with file:
        yield FileReader(path, file, disk)


def read_whole(path: Path, max_bytes: int, disk: Disk) -> bytes:
    """Returns the content of a file of a checkpoint.

    Args:
        path: The file.
        max_bytes: Its largest size, in bytes.
        disk: The file system.

    Raises:
        CheckpointError: If it is missing, larger, no regular file, or cannot be read.
    """
    with open_file(path, disk, max_bytes) as file:
        content = bytearray(file.size)
        file.fill(memoryview(content))
    return bytes(content)


def verify_file(path: Path, size: int, sha256: str, disk: Disk) -> None:
    """Reads a file and compares its size and its digest.

    Args:
        path: The file.
        size: Its size when it was written, in bytes.
        sha256: Its SHA-256 when it was written.
        disk: The file system.

    Raises:
        CheckpointError: If they differ, or the file cannot be read.
    """
    with open_file(path, disk) as file:
        file.require_size(size)
        buffer = memoryview(bytearray(min(size, disk.piece_bytes)))
        rest = size
        while rest:
            piece = buffer[:rest]
            file.fill(piece)
            rest -= len(piece)
        file.require_digest(sha256)
