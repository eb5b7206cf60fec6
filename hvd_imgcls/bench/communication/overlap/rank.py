"""A rank of `bench overlap`: steps of several arms in turns.

python -m hvd_imgcls.bench.communication.overlap.rank RESULT WORK
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.bench.communication.gradient_steps import (
    SecondsPerStep,
    make_arm,
    make_gradients,
    make_optimizer,
)
from hvd_imgcls.bench.communication.work import (
    COMMUNICATING,
    COMPUTING,
    DEFAULT_GROUPS,
    DELAYED,
    OverlapWork,
    name_of_groups,
)
from hvd_imgcls.bench.measuring.rank_program import run_rank
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.distributed import Collectives

# Tracing, the checks of the first two updates, and congestion windows.
_FIRST_STEPS = 3


def measure(ranks: Collectives, work: OverlapWork, on_progress: Callable[[str], None]) -> Any:
    """Runs the arms in turns.

    Collective: every rank must call this.

    Returns:
        The same on every rank: number of weights and ranks, the seconds of computing, and for
        every arm the seconds per step of each turn, those of the slowest rank.
    """
    gradients = make_gradients(ranks.topology.rank)
    on_progress(f"{COMMUNICATING}: first steps")
    arms = {COMMUNICATING: make_arm(_distributed(), gradients, 0.0)}
    arms[COMMUNICATING](_FIRST_STEPS)
    seconds = work.compute_seconds
    if seconds is None:
        own = arms[COMMUNICATING](max(_FIRST_STEPS, work.steps))
        seconds = max(ranks.gather_json(own))
    arms |= _overlapping(gradients, seconds, work.groups)
    for name, arm in arms.items():
        on_progress(f"{name}: first steps")
        arm(_FIRST_STEPS)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number, (first, _) in enumerate(alternating_order(work.rounds), start=1):
        for name in list(arms) if first == 0 else reversed(list(arms)):
            on_progress(f"round {number} of {work.rounds}: {name}")
            ranks.barrier()
            times[name].append(arms[name](work.steps))
    by_rank = ranks.gather_json(times)
    return {
        "ranks": ranks.topology.size,
        "weights": sum(int(gradient.shape.num_elements()) for gradient in gradients),
        "steps": work.steps,
        "compute seconds": seconds,
        "arms": {
            name: [max(turn) for turn in zip(*(one[name] for one in by_rank), strict=True)]
            for name in arms
        },
    }


def _overlapping(
    gradients: list[tf.Variable], seconds: float, groups: Any
) -> dict[str, SecondsPerStep]:
    """Returns the arms that compute."""
    arms = {
        COMPUTING: make_arm(make_optimizer().apply, gradients, seconds, in_turn=True),
        DELAYED: make_arm(_distributed(mode=hvd.Delayed()), gradients, seconds, in_turn=True),
        DEFAULT_GROUPS: make_arm(_distributed(), gradients, seconds, in_turn=True),
    }
    for count in groups:
        apply = _distributed(groups=count)
        arms[name_of_groups(count)] = make_arm(apply, gradients, seconds, in_turn=True)
    return arms


def _distributed(**arguments: Any) -> Any:
    return hvd.DistributedOptimizer(make_optimizer(), **arguments).apply


if __name__ == "__main__":
    run_rank(sys.argv[1:], OverlapWork, measure)
