"""`bench step`: the overhead of a distributed step.

- One rank: our step against plain Keras `fit`, in one process, alternately.
- Two ranks: our step against two processes without communication plus the raw
  allreduce of the same bytes, in the same two processes, alternately.
- Start-up: from launch to the end of the first step, two ranks against one plain process.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.ratio import alternating_order, ratio_of_pairs

logger = logging.getLogger(__name__)

TARGET_SECONDS = 0.005
STEPS = 200
GOALS = {"one rank": 1.02, "two ranks": 1.03, "start-up": 1.5}


def run(pairs: int) -> dict[str, Any]:
    """Measures all three and returns their ratios and times.

    Args:
        pairs: Alternating pairs of each.
    """
    results = {"one rank": one_rank(pairs), "two ranks": two_ranks(pairs)}
    results["start-up"] = start_up(max(3, pairs // 3))
    for name, result in results.items():
        result["goal"] = GOALS[name]
        logger.log(logs.RESULT, "%-10s %s (goal at most %s)", name, result["text"], GOALS[name])
    return results


def one_rank(pairs: int) -> dict[str, Any]:
    """Our step on one rank against plain Keras."""
    logger.info("one rank: %d pairs of %d steps ...", pairs, STEPS)
    facts = _measure(1, pairs)
    ours, plain = facts["seconds"]["ours"], facts["seconds"]["plain"]
    ratio = ratio_of_pairs(ours, plain)
    text = f"{ratio.describe()}; plain step {1e3 * sorted(plain)[pairs // 2]:.2f} ms"
    return {**ratio.to_json(), "text": text, "facts": facts}


def two_ranks(pairs: int) -> dict[str, Any]:
    """Our step on two ranks against the work plus the raw allreduce."""
    logger.info("two ranks: %d pairs of %d steps ...", pairs, STEPS)
    facts = _measure(2, pairs)
    seconds = facts["seconds"]
    bound = [a + b for a, b in zip(seconds["plain"], seconds["allreduce"], strict=True)]
    ratio = ratio_of_pairs(seconds["ours"], bound)
    middle = pairs // 2
    text = (
        f"{ratio.describe()}; ours {1e3 * sorted(seconds['ours'])[middle]:.2f} ms, work alone "
        f"{1e3 * sorted(seconds['plain'])[middle]:.2f} ms, raw allreduce of "
        f"{facts['gradient_bytes'] / 1e3:.0f} kB "
        f"{1e3 * sorted(seconds['allreduce'])[middle]:.2f} ms"
    )
    return {**ratio.to_json(), "text": text, "facts": facts}


def start_up(pairs: int) -> dict[str, Any]:
    """Launch to first step: two ranks of ours against one plain Keras process."""
    logger.info("start-up: %d pairs ...", pairs)
    arms: tuple[list[float], list[float]] = ([], [])
    phases: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for order in alternating_order(pairs):
        for arm in order:
            launched = time.time()
            marks = run_module(
                "hvd_imgcls.bench.steps.startup_arms",
                [("ours", "plain")[arm], "{result}"],
                size=(2, 1)[arm],
                threads=1,
                timeout_seconds=300,
            )
            arms[arm].append(marks["first step done"] - launched)
            phases[arm].append(_durations(launched, marks))
    ratio = ratio_of_pairs(arms[0], arms[1])
    where = {
        name: {phase: _median([run[phase] for run in runs]) for phase in runs[0]}
        for name, runs in zip(("ours", "plain"), phases, strict=True)
    }
    text = (
        f"{ratio.describe()}; two ranks {_median(arms[0]):.1f} s, one plain process "
        f"{_median(arms[1]):.1f} s; ours: "
        + ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in where["ours"].items())
    )
    return {**ratio.to_json(), "text": text, "seconds": where}


def _measure(size: int, pairs: int) -> Any:
    return run_module(
        "hvd_imgcls.bench.steps.step_arms",
        ["{result}", str(pairs), str(STEPS), str(TARGET_SECONDS)],
        size=size,
        threads=1,
        timeout_seconds=60 + 20 * pairs,
    )


def _durations(launched: float, marks: dict[str, float]) -> dict[str, float]:
    """Returns how long it took from each mark to the next."""
    names = list(marks)
    times = [launched, *marks.values()]
    return {name: round(times[i + 1] - times[i], 2) for i, name in enumerate(names)}


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
