"""Makes text printable that contains names of files, classes and values of somebody else."""

from __future__ import annotations

import re

# Control characters: of terminals (C0, DEL, C1), line breaks that only some programs know, and
# marks that reverse the direction of what follows.
_CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_TEXT = re.compile(f"[{_CONTROL}]")
_IN_NAME = re.compile(rf"[{_CONTROL}\t\n]")


def printable_text(text: str) -> str:
    r"""Returns a message with control characters escaped, except line breaks and tabs.

    >>> print(printable_text("\x1b[2J in a.jpg\n"), end="")
    \x1b[2J in a.jpg
    """
    return _IN_TEXT.sub(_escaped, text)


def printable_name(name: str) -> str:
    r"""Returns a name in one line, with control characters escaped.

    >>> print(printable_name("a\nerror: b.jpg"))
    a\nerror: b.jpg
    """
    return _IN_NAME.sub(_escaped, name)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
