"""`bench scaling`: two ranks compared with one process on all cores, and with no communication.

Two processes that do not communicate drift apart. A fourth arm therefore has two processes with
only a barrier after every step: its loss is the cost of running in lockstep on this machine.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from hvd_imgcls.bench.comparisons.precision import train
from hvd_imgcls.bench.measuring.rates import RunArm, measure_rates, rate_ratio

logger = logging.getLogger(__name__)

NETWORK, GLOBAL_BATCH, STEPS = "resnet20", 128, 30
OURS, ONE_PROCESS, ALONE = "two ranks", "one process", "two that do not communicate"
IN_STEP = "two that only wait for each other"
GOALS = {ONE_PROCESS: 1.0, ALONE: 0.97, IN_STEP: 0.97}


def run(rounds: int) -> dict[str, Any]:
    """Measures all four arms and returns our ratios to the other three.

    All have the same global batch; two ranks have one thread each.

    Args:
        rounds: Turns of each arm.
    """
    logger.info("%s, global batch %d: %d rounds ...", NETWORK, GLOBAL_BATCH, rounds)
    arms: dict[str, RunArm] = {
        name: functools.partial(
            train, NETWORK, "float32", GLOBAL_BATCH, STEPS, mode=mode, size=size
        )
        for name, mode, size in (
            (OURS, "ours", 2),
            (ONE_PROCESS, "ours", 1),
            (ALONE, "alone", 2),
            (IN_STEP, "in_step", 2),
        )
    }
    rates = measure_rates(arms, rounds=rounds, global_batch=GLOBAL_BATCH)
    return {other: rate_ratio(rates, OURS, other, goal) for other, goal in GOALS.items()}
