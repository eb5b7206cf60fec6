"""Writes files atomically: completely or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, *, keeps_suffix: bool = False) -> Iterator[Path]:
    """Yields a temporary file in the same directory, which then replaces `path`.

    Both the file and its directory entry are synced to disk before this returns. If the `with`
    block raises, `path` stays unchanged and the temporary file is deleted.

    Args:
        path: The file to write.
        keeps_suffix: Whether the temporary file has the suffix of `path`, for writers that
            derive the format from it. Otherwise the suffix is `.partial`, which no pattern of
            data files matches.
    """
    name = f".partial.{path.name}" if keeps_suffix else f".{path.name}.partial"
    partial = path.with_name(name)
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


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
    partial.touch()
    partial.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
