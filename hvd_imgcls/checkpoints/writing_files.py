"""Writes the files of a checkpoint in pieces, computing their digests, and syncs them to disk."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.encoding import Array
from hvd_imgcls.checkpoints.manifest import FileDigest


class FileWriter:
    """A new file, written in whole pieces as far as possible.

    Args:
        file: Its descriptor.
        disk: The file system.
    """

    def __init__(self, file: int, disk: Disk) -> None:
        self._file = file
        self._disk = disk
        self._hasher = hashlib.sha256()
        self._size = 0
        # Starts at a page, as writing past the page cache requires.
        self._piece = np.frombuffer(mmap.mmap(-1, disk.piece_bytes), np.uint8)
        self._filled = 0

    def write(self, content: Array) -> None:
        """Appends bytes.

        Args:
            content: `[size]`, uint8.

        Raises:
            OSError: If they cannot be written.
        """
        start = 0
        while start < content.size:
            count = min(content.size - start, self._piece.size - self._filled)
            self._piece[self._filled : self._filled + count] = content[start : start + count]
            self._filled += count
            start += count
            if self._filled == self._piece.size:
                self.flush()

    def write_array(self, array: Array) -> None:
        """Appends the bytes of an array, in C order. Only pieces of it are copied.

        Raises:
            OSError: If they cannot be written.
        """
        if not array.nbytes:
            return
        if array.flags.c_contiguous:
            self.write(_bytes_of(array))
            return
        count = max(1, self._disk.piece_bytes // array.itemsize)
        for start in range(0, array.size, count):
            self.write(_bytes_of(array.flat[start : start + count]))

    def flush(self) -> None:
        """Writes what is less than a whole piece; nothing may be appended after that.

        Raises:
            OSError: If it cannot be written.
        """
        rest = self._piece[: self._filled].data
        self._hasher.update(rest)
        self._size += len(rest)
        self._filled = 0
        while rest:
            rest = rest[self._disk.write(self._file, rest) :]

    @property
    def digest(self) -> FileDigest:
        """The size and the digest of what was written so far."""
        return FileDigest(self._size, self._hasher.hexdigest())


@contextlib.contextmanager
def new_file(path: Path, disk: Disk) -> Iterator[FileWriter]:
    """Yields a new file, which is synced to disk and closed after the `with` block.

    Args:
        path: The file; it must not exist.
        disk: The file system.

    Raises:
        OSError: If it cannot be created, written or closed.
    """
    file = disk.create(path)
    try:
        writer = FileWriter(file, disk)
        yield writer
        writer.flush()
        disk.sync(file)
    except BaseException:
        # The first error is the one to report.
        with contextlib.suppress(OSError):
            disk.close(file)
        raise
    disk.close(file)


def write_whole(path: Path, content: bytes, disk: Disk) -> FileDigest:
    """Writes a new file, syncs it to disk and returns its digest.

    Args:
        path: The file; it must not exist.
        content: Its content.
        disk: The file system.

    Raises:
        OSError: If it cannot be written.
    """
    with new_file(path, disk) as file:
        file.write(np.frombuffer(content, np.uint8))
    return file.digest


def _bytes_of(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)
