"""Values of a JSON file that somebody else may have written: of the expected kind, or missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_LARGEST = 1e18
_LONGEST = 200


class Values:
    """An object of JSON. What is of another kind than asked for counts as missing.

    Args:
        content: The object, or anything else, which counts as an empty one.
    """

    def __init__(self, content: Any = None) -> None:
        self._content: Mapping[str, Any] = content if isinstance(content, Mapping) else {}

    def __bool__(self) -> bool:
        return bool(self._content)

    def number(self, key: str) -> float | None:
        """Returns a finite number of a size that can be shown, or None."""
        value = self._content.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        # Compared before it is converted: an integer may have thousands of digits.
        return float(value) if -_LARGEST < value < _LARGEST and math.isfinite(value) else None

    def whole(self, key: str) -> int | None:
        """Returns a whole number, or None."""
        value = self.number(key)
        return None if value is None or value != int(value) else int(value)

    def text(self, key: str) -> str:
        """Returns a text, its beginning if it is long, or an empty one."""
        value = self._content.get(key)
        return value[:_LONGEST] if isinstance(value, str) else ""

    def is_true(self, key: str) -> bool:
        """Returns whether a value is `true`."""
        return self._content.get(key) is True

    def inner(self, key: str) -> Values:
        """Returns an object; an empty one if there is none."""
        return Values(self._content.get(key))

    def keys(self) -> list[str]:
        """Returns the keys."""
        return list(self._content)

    def rows(self, key: str) -> list[Values]:
        """Returns the objects of a list."""
        value = self._content.get(key)
        return [Values(row) for row in value] if isinstance(value, list) else []

    def numbers(self) -> Iterator[tuple[str, float]]:
        """Yields all numbers with their keys."""
        for key in self._content:
            value = self.number(key)
            if value is not None:
                yield key[:_LONGEST], value
