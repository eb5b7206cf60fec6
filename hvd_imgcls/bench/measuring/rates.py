"""Images per second of training runs that are restarted for every turn, and their ratios."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from hvd_imgcls.bench.measuring.ratio import alternating_order, ratio_of_pairs

logger = logging.getLogger(__name__)

IMAGE_SHAPE = (32, 32, 3)
NUM_CLASSES = 10
# Steps that are not measured: tracing, and warming of caches.
NUM_WARM_UP_STEPS = 5

# Runs an arm once; returns the seconds of its steps.
RunArm = Callable[[], list[float]]


def measure_rates(
    arms: Mapping[str, RunArm], *, rounds: int, global_batch: int
) -> dict[str, list[float]]:
    """Returns the images per second of every arm in every round.

    The median step of a turn counts, so that short load of the machine has no effect.
    The order of the arms alternates between rounds.

    Args:
        arms: At least two, by name.
        rounds: Number of rounds.
        global_batch: Images per step, over all processes of an arm.
    """
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for number, (first, _) in enumerate(alternating_order(rounds), start=1):
        for name in list(arms) if first == 0 else reversed(list(arms)):
            rates[name].append(global_batch / statistics.median(arms[name]()))
        text_of_arms = ", ".join(f"{name} {of_arm[-1]:,.0f}" for name, of_arm in rates.items())
        logger.info("round %d of %d: %s images/s", number, rounds, text_of_arms)
    return rates


def rate_ratio(
    rates: Mapping[str, list[float]], ours: str, theirs: str, goal: float
) -> dict[str, Any]:
    """Returns how many times as fast one arm is as another: above 1 is faster.

    Args:
        rates: Result of `measure_rates`.
        ours: Name of our arm.
        theirs: Name of the baseline.
        goal: Minimum ratio.
    """
    ratio = ratio_of_pairs(rates[ours], rates[theirs])
    figures = {name: round(statistics.median(rates[name]), 1) for name in (ours, theirs)}
    text_of_arms = ", ".join(f"{name} {figure:,.0f}" for name, figure in figures.items())
    text = f"{ratio.describe()}; images/s: {text_of_arms} (goal at least {goal:g})"
    logger.info("%s / %s: %s", ours, theirs, text)
    return {
        **ratio.to_json(),
        "goal": f"at least {goal:g}",
        "reached": ratio.value >= goal,
        "images per second": figures,
        "text": text,
    }
