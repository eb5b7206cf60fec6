"""Redraws lines in a terminal, below what was printed before."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_UP_AND_CLEAR = "\x1b[{rows}F\x1b[J"


class Screen:
    """A part of a terminal that is drawn again and again.

    Leaves the terminal as it is, so that nothing has to be restored if the process is killed.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._num_rows = 0

    @property
    def size(self) -> os.terminal_size:
        """Columns and rows."""
        return shutil.get_terminal_size()

    def draw(self, lines: Sequence[str]) -> None:
        """Replaces what was drawn before. Lines that do not fit are cut."""
        columns, rows = self.size
        # The cursor is below the last line.
        shown = [fitting(line, columns - 1) for line in lines[: max(1, rows - 1)]]
        erase = _UP_AND_CLEAR.format(rows=self._num_rows) if self._num_rows else ""
        self._stream.write(erase + "".join(f"{line}\n" for line in shown))
        self._stream.flush()
        self._num_rows = len(shown)


def fitting(line: str, columns: int) -> str:
    """Returns the beginning of a line that fits into some columns.

    >>> fitting("abcdef", 3), fitting("日本", 3)
    ('abc', '日')
    """
    width = 0
    for index, character in enumerate(line):
        if not unicodedata.combining(character):
            width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > columns:
            return line[:index]
    return line
