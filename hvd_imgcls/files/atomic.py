"""Writes files atomically: completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls.files.outside import UnsuitableFileError, kind_of


@contextlib.contextmanager
def replacing(path: Path, *, keeps_suffix: bool = False, is_synced: bool = True) -> Iterator[Path]:
    """Yields a temporary file in the same directory, which then replaces `path`.

    Both the file and its directory entry are synced to disk before this returns. If the `with`
    block raises, `path` stays unchanged and the temporary file is deleted. An OSError names `path`.

    The temporary file is new and empty: what has its name, such as a file of a killed process or
    a link to another file, is deleted, not written to.

    Args:
        path: The file to write; a link to another file is replaced, not followed.
        keeps_suffix: Whether the temporary file has the suffix of `path`, for writers that
            derive the format from it. Otherwise the suffix is `.partial`, which no pattern of
            data files matches.
        is_synced: Whether to sync. Without it a power failure may leave an empty file, which only
            files of the moment may be.
    """
    name = f".partial.{path.name}" if keeps_suffix else f".{path.name}.partial"
    partial = path.with_name(name)
    _require_replaceable(path)
    _create(partial)
    try:
        with naming(path, partial):
            yield partial
            if is_synced:
                _sync(partial)
            os.replace(partial, path)
            if is_synced:
                _sync(path.parent)
    finally:
        # On a disk that cannot be written any more, the first error counts.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, written: Path | None = None) -> Iterator[None]:
    """Context manager that adds a file to an OSError that names none, as on a full disk.

    Args:
        path: The file that is written.
        written: The temporary file that is written instead, for which errors name `path` as well.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        # Libraries such as h5py raise errors with a message only.
        if error.filename is None or (written and str(error.filename) == str(written)):
            error.filename = os.fspath(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def require_writable(path: Path) -> None:
    """Raises an OSError if `replacing` could not write to the directory of `path`."""
    partial = path.with_name(f".{path.name}.partial")
    _require_replaceable(path)
    _create(partial)
    partial.unlink()


def _require_replaceable(path: Path) -> None:
    """Raises an error if a folder, a pipe or a device would be replaced by a file."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return  # Creating the temporary file tells what is wrong.
    kind = None if stat.S_ISLNK(mode) else kind_of(mode)
    if kind is not None:
        raise UnsuitableFileError(errno.EEXIST, f"{kind}, not a regular file", path)


def _create(partial: Path) -> None:
    if "\0" in os.fspath(partial):
        raise UnsuitableFileError(errno.EINVAL, "a path with a zero byte", partial)
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
