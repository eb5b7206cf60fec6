"""Writes human-readable JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hvd_imgcls.files.atomic import write_text


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends one line of JSON per value."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n" for value in values
        )


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
