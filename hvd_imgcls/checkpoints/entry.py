"""Checkpoints in a store: what is known without reading them, and what they contain."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvd_imgcls.state_registry import State


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete checkpoint.

    Attributes:
        step: Completed steps.
        path: Its directory.
        facts: The facts it was written with.
        bytes: Size of its files except the manifest, in bytes.
        created: When it was written; None if there is a problem.
        problem: Why its manifest cannot be read; None if it can. Then there are no facts and the
            size is 0.
    """

    step: int
    path: Path
    facts: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    created: datetime.datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint. All of it is what was written, bit for bit.

    Attributes:
        step: Completed steps.
        path: Its directory.
        states: The states of the root, by name.
        states_by_rank: For each of the ranks from 1, those states that differ from the root's.
        facts: The facts it was written with.
    """

    step: int
    path: Path
    states: dict[str, State]
    states_by_rank: list[dict[str, State]]
    facts: dict[str, Any]
