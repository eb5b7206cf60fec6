"""`bench precision`: training steps in bfloat16 compared with float32, one process, all cores."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.rates import RunArm, measure_rates, rate_ratio

logger = logging.getLogger(__name__)

# Global batch size and steps per turn, by network.
NETWORKS = {"resnet20": (128, 30), "fast_cnn": (512, 8)}
GOAL = 1.5


def run(rounds: int) -> dict[str, Any]:
    """Measures both networks and returns their ratios.

    Args:
        rounds: Turns of each arm.
    """
    results = {}
    for network, (batch, steps) in NETWORKS.items():
        logger.info("%s: %d rounds of %d steps of %d images ...", network, rounds, steps, batch)
        arms: dict[str, RunArm] = {
            precision: functools.partial(train, network, precision, batch, steps)
            for precision in ("mixed_bfloat16", "float32")
        }
        rates = measure_rates(arms, rounds=rounds, global_batch=batch)
        results[network] = rate_ratio(rates, "mixed_bfloat16", "float32", GOAL)
    return results


def train(
    network: str,
    precision: str,
    global_batch: int,
    steps: int,
    *,
    mode: str = "ours",
    size: int = 1,
    threads: int | None = None,
) -> list[float]:
    """Trains one of our networks; returns the seconds of its steps.

    Args:
        network: A key of `training_rate.SECTIONS`.
        precision: `train.precision`.
        global_batch: Images per step over all processes.
        steps: Number of steps measured.
        mode: `ours`, `alone`, `in_step` or `plain`.
        size: Number of processes.
        threads: Threads of each; None divides all cores by the processes.
    """
    threads = threads or max(1, (os.cpu_count() or 1) // size)
    words = ["{result}", network, precision, str(global_batch), str(steps), str(threads), mode]
    seconds: list[float] = run_module(
        "hvd_imgcls.bench.comparisons.training_rate",
        words,
        size=size,
        threads=threads,
        timeout_seconds=600,
    )
    return seconds
