"""What ranks are told to measure, as an argument of their programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

OURS, RAW = "ours", "raw gloo"
PLAIN, ALONE = "plain Horovod", "no communication"
"""Arms of a step that are no way of our optimizer."""
COMPUTING, COMMUNICATING = "computing", "communicating"
"""Arms of steps that do only one of both."""
DELAYED, DEFAULT_GROUPS = "delayed", "groups of 32 MiB"
"""Arms of steps that do both at once; others are numbers of groups."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AllreduceWork:
    """Work of `allreduce_rank`.

    Attributes:
        sizes: Sizes of messages in bytes, multiples of 4.
        pairs: Turns of each side for every size.
        torch_python: Interpreter of an environment with PyTorch; no other side when None.
    """

    sizes: Sequence[int]
    pairs: int
    torch_python: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """Work of `step_arms`.

    Attributes:
        arms: `PLAIN`, `ALONE` and names of ways.
        rounds: Turns of each arm.
        steps: Steps of a turn.
        compute_seconds: Time of a step before its gradients are there.
    """

    arms: Sequence[str]
    rounds: int
    steps: int
    compute_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OverlapWork:
    """Work of `overlap.rank`.

    Attributes:
        rounds: Turns of each arm.
        steps: Steps of a turn.
        groups: Numbers of groups of gradients.
        compute_seconds: Time until all gradients of a step are there; None for as long as
            communicating takes.
    """

    rounds: int
    steps: int
    groups: Sequence[int]
    compute_seconds: float | None = None


def name_of_groups(count: int) -> str:
    """Returns the name of the arm that sends gradients in this number of groups."""
    return f"{count} groups" if count > 1 else "1 group"


def as_argument(work: AllreduceWork | StepWork | OverlapWork) -> str:
    """Returns it as a word for `run_module`, in which braces are fields of a format."""
    return json.dumps(dataclasses.asdict(work)).replace("{", "{{").replace("}", "}}")
