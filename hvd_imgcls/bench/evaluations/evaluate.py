"""`bench evaluate`: evaluation, metrics and prediction compared with Keras and scikit-learn."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.ratio import alternating_order, ratio_of_pairs

logger = logging.getLogger(__name__)

_PRECISIONS = ("float32", "mixed_bfloat16")
# Exits with the process that started it.
_BURN = "import os; os.sched_setaffinity(0, {%d})\nwhile os.getppid() == %d: pass"


def run(rounds: int) -> dict[str, Any]:
    """Measures all three and returns their ratios.

    Args:
        rounds: Turns of each arm.
    """
    results = {
        f"evaluation, {precision}": _evaluation(rounds, precision) for precision in _PRECISIONS
    }
    return {**results, "metrics": _metrics(rounds), "predict": _predict(rounds)}


def _evaluation(rounds: int, precision: str) -> dict[str, Any]:
    """Two ranks with one thread each against `model.evaluate` in one process with two threads."""

    def arm(name: str, size: int) -> float:
        cores = os.cpu_count() or 1
        threads = max(1, cores // size)
        seconds: list[float] = run_module(
            "hvd_imgcls.bench.evaluations.evaluation_rate",
            ["{result}", name, precision, str(threads)],
            size=size,
            threads=threads,
            timeout_seconds=600,
        )
        return statistics.median(seconds)

    ours, theirs = _in_turns(
        rounds, functools.partial(arm, "ours", 2), functools.partial(arm, "keras", 1)
    )
    return _said(
        f"evaluation of ResNet-20, {precision}: two ranks / model.evaluate, speed",
        ratio_of_pairs(theirs, ours),
        {"two ranks, seconds": ours, "model.evaluate, seconds": theirs},
        goal=1.0,
    )


def _metrics(rounds: int) -> dict[str, Any]:
    """ROC AUC by this package and by scikit-learn, and all our metrics, one process each."""
    records: dict[str, list[dict[str, float]]] = {
        "area alone": [],
        "scikit-learn": [],
        "ours": [],
    }

    def arm(name: str) -> float:
        record = run_module(
            "hvd_imgcls.bench.evaluations.metrics_arms",
            ["{result}", name],
            size=1,
            threads=1,
            timeout_seconds=900,
        )
        records[name].append(record)
        return float(record["seconds"])

    times = _in_turns(rounds, *(functools.partial(arm, name) for name in records))
    alone, theirs, ours = times
    result = _said(
        "50,000 x 1,000 scores, macro ROC AUC: ours / scikit-learn's, speed",
        ratio_of_pairs(theirs, alone),
        {"ours, seconds": alone, "scikit-learn, seconds": theirs},
        goal=5.0,
    )
    all_metrics = ratio_of_pairs(theirs, ours)
    seconds = statistics.median(ours)
    logger.info(
        "all our metrics / scikit-learn's macro ROC AUC: %s; %.2f s",
        all_metrics.describe(),
        seconds,
    )
    result["all our figures / its area"] = {**all_metrics.to_json(), "seconds": round(seconds, 3)}
    for name, of_arm in records.items():
        added = max(record["added_bytes"] for record in of_arm) / 2**20
        result[f"{name}, MiB beside the scores"] = round(added)
        logger.info("%s: %.0f MiB in addition to the scores", name, added)
    areas = [of_arm[0]["area"] for of_arm in records.values()]
    result["largest difference of the areas"] = max(areas) - min(areas)
    return result


def _predict(rounds: int) -> dict[str, Any]:
    """A prediction with other load on the second rank's core, against the ideal division."""
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as name, _busy_core(1):

        def arm(kind: str, size: int = 2) -> list[float]:
            words = ["{result}", kind, name]
            seconds: list[float] = run_module(
                "hvd_imgcls.bench.evaluations.predict_arms",
                words,
                size=size,
                threads=1,
                timeout_seconds=600,
            )
            return seconds

        arm("write", size=1)

        fixed: list[list[float]] = []

        def with_fixed_shares() -> float:
            fixed.append(arm("fixed"))
            # Half of the images each: both together would need the harmonic mean.
            return statistics.harmonic_mean(fixed[-1])

        pieces, ideal = _in_turns(rounds, lambda: arm("pieces")[0], with_fixed_shares)
    result = _said(
        "predict with a slowed rank: pieces / ideal share, time",
        ratio_of_pairs(pieces, ideal),
        {"pieces, seconds": pieces, "ideal share, seconds": ideal},
        goal=1.1,
        at_most=True,
    )
    longest = ratio_of_pairs([max(of_ranks) for of_ranks in fixed], ideal)
    logger.info("equal division / ideal division: %s", longest.describe())
    result["fixed shares / ideal share"] = longest.to_json()
    result["slowed rank / other rank, time of equal shares"] = round(
        statistics.median(slow / fast for fast, slow in fixed), 3
    )
    return result


def _in_turns(rounds: int, *arms: Callable[[], float]) -> tuple[list[float], ...]:
    """Returns the times of arms that take turns, in alternating order."""
    times: tuple[list[float], ...] = tuple([] for _ in arms)
    for first, _ in alternating_order(rounds):
        places = range(len(arms)) if first == 0 else reversed(range(len(arms)))
        for place in places:
            times[place].append(arms[place]())
        logger.info("%s", " and ".join(f"{of_arm[-1]:.2f} s" for of_arm in times))
    return times


def _said(
    what: str, ratio: Any, times: dict[str, list[float]], *, goal: float, at_most: bool = False
) -> dict[str, Any]:
    word = "at most" if at_most else "at least"
    reached = ratio.value <= goal if at_most else ratio.value >= goal
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    logger.info("%s: %s (goal %s %g); %s", what, ratio.describe(), word, goal, medians)
    return {**ratio.to_json(), "goal": f"{word} {goal:g}", "reached": reached, **medians}


@contextlib.contextmanager
def _busy_core(core: int) -> Iterator[None]:
    """Keeps a core busy with a separate process, so that a rank on it has half of it."""
    process = subprocess.Popen([sys.executable, "-c", _BURN % (core, os.getpid())])
    try:
        yield
    finally:
        process.kill()
        process.wait()
