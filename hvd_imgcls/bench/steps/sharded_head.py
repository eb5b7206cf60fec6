"""`bench sharded-head`: a last layer of a million classes, divided over two ranks or on each.

All train 1,000,000 classes x 128 features with AdamW; the divided layer also with a tenth of its
classes drawn for every step. The layer on each rank is compared with integer labels, because
one-hot targets of so many classes are more than anybody would use.
"""

from __future__ import annotations

import functools
import logging
import statistics
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.ratio import ratio_of_pairs

logger = logging.getLogger(__name__)

NUM_CLASSES, FEATURES, BATCH_SIZE, SIZE = 1_000_000, 128, 32, 2
STEPS, WARM_UP_STEPS = 9, 4
SHARDED, SAMPLED, REPLICATED = "sharded", "sampled", "replicated"
SAMPLED_FRACTION = 0.1
_MEMORY = ("variables", "resident", "peak")


def run(pairs: int, *, num_classes: int = NUM_CLASSES) -> dict[str, Any]:
    """Measures step times in turns, and the memory of the largest rank.

    Args:
        pairs: Runs of each head; all three take turns.
        num_classes: Number of classes.
    """
    names = (SHARDED, SAMPLED, REPLICATED)
    arms = {arm: functools.partial(_measure, arm, num_classes) for arm in names}
    measured: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for turn in range(pairs):
        # Back and forth, so that a drift affects all equally.
        for arm in names if turn % 2 == 0 else reversed(names):
            measured[arm].append(arms[arm]())
            logger.info("%s: %s", arm, _described(measured[arm][-1]))
    seconds = {arm: [_step(one) for one in of_arm] for arm, of_arm in measured.items()}
    ratio = ratio_of_pairs(seconds[SHARDED], seconds[REPLICATED])
    of_sampled = ratio_of_pairs(seconds[SAMPLED], seconds[SHARDED])
    results: dict[str, Any] = {
        "step": {**ratio.to_json(), "seconds": seconds},
        "sampled_step": of_sampled.to_json(),
        "bytes": {
            arm: {name: min(one[name] for one in of_arm) for name in _MEMORY}
            for arm, of_arm in measured.items()
        },
    }
    for arm, of_arm in results["bytes"].items():
        sizes = ", ".join(f"{name} {value / 1e6:,.0f} MB" for name, value in of_arm.items())
        text = f"step {statistics.median(seconds[arm]):.3f} s; {sizes}"
        logger.log(logs.RESULT, "%s classes x %d, %s: %s", f"{num_classes:,}", FEATURES, arm, text)
    logger.log(logs.RESULT, "step, sharded / replicated: %s", ratio.describe())
    logger.log(
        logs.RESULT,
        "step, sampled (%g of the classes) / sharded: %s",
        SAMPLED_FRACTION,
        of_sampled.describe(),
    )
    return results


def _measure(arm: str, num_classes: int) -> dict[str, Any]:
    measured: dict[str, Any] = run_module(
        "hvd_imgcls.bench.steps.sharded_head_rank",
        ["{result}", arm, str(num_classes)],
        size=SIZE,
        threads=1,
        timeout_seconds=1800,
    )
    return measured


def _step(measured: dict[str, Any]) -> float:
    """Returns the median seconds of a step, without those that trace and warm up."""
    return statistics.median(measured["seconds"][WARM_UP_STEPS:])


def _described(measured: dict[str, Any]) -> str:
    sizes = ", ".join(f"{name} {measured[name] / 1e6:,.0f} MB" for name in _MEMORY)
    return f"step {_step(measured):.3f} s, {sizes}"
