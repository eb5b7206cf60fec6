"""Names that come from outside, as text that cannot control a terminal."""

from __future__ import annotations

import os
from pathlib import Path


def printable(text: str | Path) -> str:
    r"""Returns text on one line, with escapes for bytes that are not UTF-8 and control characters.

    >>> print(printable("a" + chr(27) + "[31m" + chr(10)))
    a\x1b[31m\n
    """
    decoded = os.fsencode(text).decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in decoded)
