"""`bench memory`: memory of the optimizer's state per rank, divided over the ranks or not."""

from __future__ import annotations

import logging
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.measuring.launching import run_module

logger = logging.getLogger(__name__)

SIZES = (2, 4)
GOAL_EXCESS = 1.05


def run(pairs: int) -> dict[str, Any]:
    """Measures ResNet-50 with AdamW on two and four ranks, with whole and with divided state.

    Args:
        pairs: Runs of each, for the memory of the processes; the state has the same size in all.
    """
    results = {}
    for size in SIZES:
        measured: dict[str, list[dict[str, float]]] = {"whole": [], "divided": []}
        for _ in range(pairs):
            for arm, of_arm in measured.items():
                of_arm.append(_measure(size, is_divided=arm == "divided"))
        results[f"{size} ranks"] = _summary(size, measured)
    return results


def _measure(size: int, *, is_divided: bool) -> dict[str, float]:
    """Returns the largest of all ranks, in bytes."""
    largest: dict[str, float] = run_module(
        "hvd_imgcls.bench.communication.memory_rank",
        ["{result}", str(int(is_divided))],
        size=size,
        threads=1,
        timeout_seconds=1800,
    )
    return largest


def _summary(size: int, measured: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    whole, divided = measured["whole"][0]["state"], measured["divided"][0]["state"]
    excess = divided / whole * size
    resident = {arm: min(one["resident"] for one in runs) for arm, runs in measured.items()}
    text = (
        f"state {whole / 1e6:.1f} MB whole, {divided / 1e6:.1f} MB divided: {excess:.4f} times "
        f"1/{size} (goal at most {GOAL_EXCESS}); process {resident['whole'] / 1e6:.0f} and "
        f"{resident['divided'] / 1e6:.0f} MB"
    )
    logger.log(logs.RESULT, "%d ranks, ResNet-50 with AdamW: %s", size, text)
    return {
        "state, bytes": {"whole": whole, "divided": divided},
        "relative to 1 / ranks": round(excess, 5),
        "goal": f"at most {GOAL_EXCESS}",
        "reached": excess <= GOAL_EXCESS,
        "resident memory, bytes": resident,
        "text": text,
    }
