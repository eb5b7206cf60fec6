"""Reads JSON files that come from outside, and writes human-readable ones."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hvd_imgcls.files.atomic import naming, write_text
from hvd_imgcls.files.outside import MAX_RESULTS_BYTES, open_to_append, read_text


def read_json(path: Path, max_bytes: int = MAX_RESULTS_BYTES) -> Any:
    """Returns the value in a JSON file.

    Args:
        path: The file; a byte order mark is ignored.
        max_bytes: Its largest size, in bytes.

    Raises:
        OSError: If it cannot be read, is no regular file, or larger.
        ValueError: If it is not JSON, is nested too deeply, or has NaN or infinite numbers.
    """
    return parse_json(read_text(path, max_bytes, "utf-8-sig"))


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: If it is not JSON, is nested too deeply, or has NaN or infinite numbers.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant}, which is not JSON")


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends one line of JSON per value.

    Raises:
        OSError: If the file cannot be written, or is a link or no regular file.
    """
    with naming(path), open_to_append(path) as file:
        for value in values:
            line = json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n"
            file.write(line.encode())


class JsonLines:
    """A file to which one line of JSON per value is appended, now or when the disk allows it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[Any] = []

    def append(self, value: Any) -> OSError | None:
        """Appends a line, after those that could not be written.

        Returns:
            The error, if it cannot be written now: it is kept for the next time. Nothing of it is
            in the file.
        """
        self._pending.append(value)
        return self.flush()

    def flush(self) -> OSError | None:
        """Writes the lines that could not be written; returns the error if it still fails."""
        if not self._pending:
            return None
        length = self._path.stat().st_size if self._path.is_file() else 0
        try:
            append_json_lines(self._path, self._pending)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self._path, length)
            return error
        self._pending = []
        return None


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, deterministically: equal values give equal bytes."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any, indent: str = "") -> str:
    """Formats a value as readable JSON: a list of numbers or strings takes one line.

    >>> print(to_json({"name": "a", "matrix": [[1, 2], [3, 4]]}))
    {
      "name": "a",
      "matrix": [
        [1, 2],
        [3, 4]
      ]
    }
    """
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        inner = [f"{_scalar(str(key))}: {to_json(item, deeper)}" for key, item in value.items()]
        opened, closed = "{", "}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        inner = [to_json(item, deeper) for item in value]
        opened, closed = "[", "]"
    else:
        return _scalar(value)
    lines = f",\n{deeper}".join(inner)
    return f"{opened}\n{deeper}{lines}\n{indent}{closed}"


def _scalar(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
