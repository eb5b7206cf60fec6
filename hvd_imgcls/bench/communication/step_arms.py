"""A rank of `bench bytes` and `bench slow-network`: steps of several arms in turns.

    python -m hvd_imgcls.bench.communication.step_arms RESULT WORK

A step waits for some time in place of a forward and backward pass, then reduces gradients of the
size of ResNet-18 and updates the weights with SGD with momentum. All gradients are there at the
same time, so that nothing is sent while others are still being computed.
"""

from __future__ import annotations

import contextlib
import logging
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
from hvd_imgcls.bench.communication.peer import start_plain_horovod
from hvd_imgcls.bench.communication.ways import BY_NAME
from hvd_imgcls.bench.communication.work import ALONE, PLAIN, StepWork
from hvd_imgcls.bench.measuring.launching import show_progress
from hvd_imgcls.bench.measuring.rank_program import run_rank
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.bench.network.counters import Sent, sent_by_this_host
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

_FIRST_STEPS = 3
"""Steps of plain Horovod, and of those that do not communicate, before they are measured."""


def measure(
    ranks: Collectives, work: StepWork, on_progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs the arms in turns.

    Collective: every rank must call this, on hosts of a simulated network.

    Returns:
        The same on every rank: number of weights and ranks, and for every arm the seconds per
        step of each turn, those of the slowest rank, and what each rank has sent per step; the
        compression, if it was chosen by measurement.
    """
    gradients = make_gradients(ranks.topology.rank)
    arms: dict[str, SecondsPerStep] = {}
    optimizers: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in work.arms}
    sent = {name: Sent(0, 0) for name in work.arms}
    with contextlib.ExitStack() as stack:
        for name in work.arms:
            on_progress(f"{name}: first steps")
            arms[name], optimizers[name] = _start(name, gradients, work.compute_seconds, stack)
            arms[name](BY_NAME[name].first_steps if name in BY_NAME else _FIRST_STEPS)
        for number, (first, _) in enumerate(alternating_order(work.rounds), start=1):
            for name in list(arms) if first == 0 else reversed(list(arms)):
                on_progress(f"round {number} of {work.rounds}: {name}")
                taken, during = _turn(ranks, arms[name], work.steps)
                seconds[name].append(taken)
                sent[name] += during
    measured = _of_all_ranks(ranks, seconds, sent)
    for name, optimizer in optimizers.items():
        synchronizer = synchronizer_of(optimizer)
        if synchronizer is not None:
            measured[name].update(synchronizer.mode.chosen())
    return {
        "ranks": ranks.topology.size,
        "weights": sum(int(gradient.shape.num_elements()) for gradient in gradients),
        "steps": work.rounds * work.steps,
        "arms": measured,
    }


def _start(
    name: str, gradients: list[tf.Variable], compute_seconds: float, stack: contextlib.ExitStack
) -> tuple[SecondsPerStep, Any]:
    """Returns an arm, and its optimizer if there is one here.

    Collective: every rank must call this.
    """
    if name == PLAIN:
        peer = stack.enter_context(start_plain_horovod(compute_seconds))
        peer.read()
        return lambda num_steps: peer.ask(str(num_steps)), None
    optimizer = make_optimizer()
    if name != ALONE:
        optimizer = hvd.DistributedOptimizer(optimizer, **BY_NAME[name].arguments(hvd))
    return make_arm(optimizer.apply, gradients, compute_seconds), optimizer


def _of_all_ranks(
    ranks: Collectives, seconds: dict[str, list[float]], sent: dict[str, Sent]
) -> dict[str, Any]:
    """Returns the times of the slowest rank, and what each rank has sent, by arm."""
    mine = {
        name: {"seconds": seconds[name], "sent by ranks": sent[name].to_json()} for name in seconds
    }
    by_rank = ranks.gather_json(mine)
    arms = {}
    for name in seconds:
        turns = zip(*(one[name]["seconds"] for one in by_rank), strict=True)
        arms[name] = {
            "seconds": [max(turn) for turn in turns],
            "sent by ranks": [one[name]["sent by ranks"] for one in by_rank],
        }
    return arms


def _turn(ranks: Collectives, arm: SecondsPerStep, num_steps: int) -> tuple[float, Sent]:
    """Returns the seconds per step, and what this host has sent in all steps."""
    ranks.barrier()
    before = sent_by_this_host()
    taken = arm(num_steps)
    # When this has arrived, so has everything before it.
    ranks.barrier()
    return taken, sent_by_this_host() - before


class _Progress(logging.Handler):
    """Shows what the package logs, such as why it has chosen a compression."""

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a message."""
        show_progress(record.getMessage())


def _measure_and_show(
    ranks: Collectives, work: StepWork, on_progress: Callable[[str], None]
) -> Any:
    """See `measure`; the root also shows what the package logs. Collective."""
    if ranks.topology.is_root:
        logger = logging.getLogger("hvd_imgcls")
        logger.setLevel(logging.INFO)
        logger.addHandler(_Progress())
    return measure(ranks, work, on_progress)


if __name__ == "__main__":
    run_rank(sys.argv[1:], StepWork, _measure_and_show)
