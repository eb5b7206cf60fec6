"""Text that contains names and values of somebody else, so that it cannot control a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Control characters: of terminals (C0, DEL, C1), line breaks that only some programs know, and
# marks that reverse the direction of what follows.
_CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_TEXT = re.compile(f"[{_CONTROL}]")
_IN_NAME = re.compile(rf"[{_CONTROL}\t\n]")


def printable(name: str | Path) -> str:
    r"""Returns a name in one line, with escapes for control characters and bytes not in UTF-8.

    >>> print(printable("a\nerror: \x1b[31mb.jpg"))
    a\nerror: \x1b[31mb.jpg
    """
    decoded = os.fsencode(name).decode("utf-8", errors="backslashreplace")
    return _IN_NAME.sub(_escaped, decoded)


def printable_text(text: str) -> str:
    r"""Returns a message with control characters escaped, except line breaks and tabs.

    >>> print(printable_text("\x1b[2J in a.jpg\n"), end="")
    \x1b[2J in a.jpg
    """
    return _IN_TEXT.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
