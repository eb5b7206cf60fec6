"""Names in the directory of a checkpoint store."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

POINTER = "latest.json"
"""The file with the name of the newest checkpoint."""

MANIFEST = "manifest.json"
"""The file of a checkpoint that is written last."""

DAMAGED = "damaged-"
"""What the name of a damaged checkpoint begins with, once it is set aside."""

STATE, RANKS = "state", "ranks"
"""The files of the root's states and of those of the other ranks, each `.json` and `.bin`."""

DATA_FILES = tuple(f"{stem}{suffix}" for stem in (STATE, RANKS) for suffix in (".json", ".bin"))
"""The files of a checkpoint, except the manifest."""

_CHECKPOINT = r"step-([0-9]{8,18})(?:\.([1-9][0-9]{0,8}))?"
_COMPLETE = re.compile(_CHECKPOINT)
_SET_ASIDE = re.compile(rf"{DAMAGED}{_CHECKPOINT}(-[0-9]+)?")
_LEFT_OVER = re.compile(rf"({_CHECKPOINT}|{re.escape(POINTER)})\.(tmp|removing)-[0-9a-f]{{16}}")


@dataclass(frozen=True, slots=True, order=True)
class CheckpointName:
    """The name of the directory of a complete checkpoint.

    Attributes:
        step: Completed steps.
        revision: 0, or how often this step was saved before.
    """

    step: int
    revision: int = 0

    def __str__(self) -> str:
        return f"step-{self.step:08d}" + (f".{self.revision}" if self.revision else "")


def parse_name(name: str) -> CheckpointName | None:
    """Returns the step and the revision in a name, None if it is not that of a checkpoint."""
    match = _COMPLETE.fullmatch(name)
    if match is None:
        return None
    parsed = CheckpointName(int(match[1]), int(match[2] or 0))
    return parsed if str(parsed) == name else None


def temporary(name: str) -> str:
    """Returns a new name for what is still being written."""
    return f"{name}.tmp-{secrets.token_hex(8)}"


def removing(name: str) -> str:
    """Returns a new name for what is being removed."""
    return f"{name}.removing-{secrets.token_hex(8)}"


def set_aside(name: str, taken: Iterable[str]) -> str:
    """Returns a new name for a damaged checkpoint.

    Args:
        name: Its name.
        taken: Names that are already in the directory.
    """
    number, new, others = 1, f"{DAMAGED}{name}", set(taken)
    while new in others:
        number += 1
        new = f"{DAMAGED}{name}-{number}"
    return new


def is_left_over(name: str) -> bool:
    """Returns whether `temporary` or `removing` returned this name."""
    return _LEFT_OVER.fullmatch(name) is not None


def is_set_aside(name: str) -> bool:
    """Returns whether `set_aside` returned this name."""
    return _SET_ASIDE.fullmatch(name) is not None
