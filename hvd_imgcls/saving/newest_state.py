"""Reads the state from which a training is continued."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.distributed.agreement import on_root
from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.distributed.state_exchange import share_states
from hvd_imgcls.state_registry import State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """What a training is continued from.

    Attributes:
        step: Completed steps.
        facts: What was known about it when it was saved, as JSON.
        states_by_rank: The states of all ranks that it had then; of all but the root only what
            differs between ranks.
    """

    step: int
    facts: Mapping[str, Any]
    states_by_rank: Sequence[Mapping[str, State]]


def read_newest(
    directory: Path, collectives: Collectives, check: Callable[[Mapping[str, Any]], None]
) -> Resumed | None:
    """Returns the newest sound state, on every rank; None if nothing was saved.

    Collective: every rank must call this. Only the root reads files.

    Args:
        directory: The checkpoints.
        collectives: Communication between the ranks.
        check: Called on the root with the facts; raises an error if they do not fit.

    Raises:
        CheckpointError: If all checkpoints are damaged.
        HvdImgclsError: What `check` raises.
    """
    states: list[Mapping[str, State]] = []

    def read() -> Any:
        store = CheckpointStore(directory)
        store.clean()
        found = store.newest(lambda text: logger.warning("%s", text))
        if found is None:
            return None
        check(found.facts)
        states.extend([found.states, *found.states_by_rank])
        return {"step": found.step, "facts": dict(found.facts)}

    header = on_root(collectives, read)
    if header is None:
        return None
    return Resumed(**header, states_by_rank=share_states(collectives, states))
