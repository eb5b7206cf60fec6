"""`bench slow-network`: time of a step with gradients of ResNet-18 over a slow network.

Plain Horovod, our distributed optimizer in several ways, and a step that does not communicate,
in turns in the same ranks.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.communication.arithmetic import BYTES_OF_FLOAT, ring_seconds
from hvd_imgcls.bench.communication.settings import Settings
from hvd_imgcls.bench.communication.steps_on_network import run_steps
from hvd_imgcls.bench.communication.ways import chosen
from hvd_imgcls.bench.communication.work import ALONE, PLAIN
from hvd_imgcls.bench.measuring.ratio import ratio_of_pairs

logger = logging.getLogger(__name__)

COMPUTE_SECONDS = 0.5


def run(settings: Settings) -> dict[str, Any]:
    """Measures all arms and returns the results by number of ranks."""
    ways = [way.name for way in chosen(settings.ways)]
    seconds = settings.compute_seconds
    seconds = COMPUTE_SECONDS if seconds is None else seconds
    results = {}
    for size in settings.ranks:
        measured = run_steps(settings, size, [PLAIN, *ways, ALONE], compute_seconds=seconds)
        summary = summarize(measured)
        logger.log(logs.RESULT, "%d ranks, %s", size, summary["expected text"])
        for name, one in summary["step times"].items():
            label = name if name in (PLAIN, ALONE) else f"ours ({name})"
            logger.log(logs.RESULT, "%d ranks, %s: %s", size, label, one["text"])
        results[f"{size} ranks"] = {**measured, **summary}
    return results


def summarize(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the times of the steps and their ratios.

    Args:
        measured: Result of `run_steps`.

    Returns:
        For every arm the median seconds per step, and the ratios of its times to those of plain
        Horovod and of the step that does not communicate.
    """
    turns = {name: one["seconds"] for name, one in measured["arms"].items()}
    link = measured["link before"]
    ring = ring_seconds(
        BYTES_OF_FLOAT * measured["weights"],
        measured["ranks"],
        link["round trip ms"] / 1e3,
        link["Mbit/s"] * 1e6 / 8,
    )
    alone = statistics.median(turns[ALONE])
    steps = {}
    for name, seconds in turns.items():
        ratios = {
            other: ratio_of_pairs(seconds, turns[other])
            for other in (PLAIN, ALONE)
            if other != name
        }
        chosen = measured["arms"][name].get("compression")
        described = [f"chosen: {chosen}"] if chosen else []
        described += [f"/ {other}: {ratio.describe()}" for other, ratio in ratios.items()]
        steps[name] = {
            "seconds": statistics.median(seconds),
            "relative to": {other: ratio.to_json() for other, ratio in ratios.items()},
            "text": "; ".join([f"{statistics.median(seconds):.3f} s per step", *described]),
        }
    return {
        "expected seconds": alone + ring,
        "expected text": f"a step without communication and a ring of float32 over this link: "
        f"{alone:.3f} s + {ring:.3f} s",
        "step times": steps,
    }
