"""`bench overlap`: steps that communicate while they compute, against the longer of both.

Gradients of ResNet-18 are there one after the other, the last first, as in a backward pass that
takes as long as sending them. They are reduced one update late, or in groups of which the first
are sent while others are still to come. On this machine, or with --rate on a simulated network.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.communication.settings import Settings
from hvd_imgcls.bench.communication.work import (
    COMMUNICATING,
    COMPUTING,
    DELAYED,
    OverlapWork,
    as_argument,
    name_of_groups,
)
from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.ratio import ratio_of_pairs
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.preflight import conditions_of, require_as_intended
from hvd_imgcls.bench.network.ranks import run_module_on_hosts

logger = logging.getLogger(__name__)

GOALS = {DELAYED: 1.15}
"""Largest time of a step relative to the longer of computing and communicating."""

_RANK = "hvd_imgcls.bench.communication.overlap.rank"
_STEPS_HERE, _STEPS_ON_NETWORK = 20, 2
_TIMEOUT_SECONDS = 3600.0


def run(settings: Settings) -> dict[str, Any]:
    """Measures all arms and returns the results by number of ranks."""
    results = {}
    for size in settings.ranks:
        measured = _measure(settings, size)
        steps = summarize(measured["arms"])
        for name, one in steps.items():
            logger.log(logs.RESULT, "%d ranks, %s: %s", size, name, one["text"])
        results[f"{size} ranks"] = {**measured, "step times": steps}
    return results


def _measure(settings: Settings, size: int) -> dict[str, Any]:
    is_here = settings.rate_mbit is None
    work = OverlapWork(
        rounds=settings.pairs,
        steps=_STEPS_HERE if is_here else _STEPS_ON_NETWORK,
        groups=settings.groups,
        compute_seconds=settings.compute_seconds,
    )
    words = ["{result}", as_argument(work)]
    if is_here:
        local: dict[str, Any] = run_module(
            _RANK,
            words,
            size=size,
            threads=1,
            timeout_seconds=_TIMEOUT_SECONDS,
            on_progress=lambda text: logger.info("  %s", text),
        )
        return local
    link = settings.link(size)
    with SlowNetwork(link) as network:
        found = require_as_intended(network)
        measured, sent = run_module_on_hosts(
            network, _RANK, words, threads=1, timeout_seconds=_TIMEOUT_SECONDS
        )
    return {**measured, **conditions_of(link, found, sent)}


def summarize(turns: Mapping[str, list[float]]) -> dict[str, Any]:
    """Returns the median time of every arm, and its ratios.

    Args:
        turns: Seconds per step of every turn, by the name of the arm.

    Returns:
        For every arm its median, and its times relative to the longer of computing and
        communicating in the same round, and to one group.
    """
    both = zip(turns[COMPUTING], turns[COMMUNICATING], strict=True)
    longer = [max(pair) for pair in both]
    one_group = turns.get(name_of_groups(1))
    steps = {}
    for name, seconds in turns.items():
        entry: dict[str, Any] = {"seconds": statistics.median(seconds)}
        text = f"{1e3 * entry['seconds']:.1f} ms per step"
        if name not in (COMPUTING, COMMUNICATING):
            ratio = ratio_of_pairs(seconds, longer)
            entry["relative to the longer"] = ratio.to_json()
            text += f"; / the longer of both: {ratio.describe()}"
            if one_group not in (None, seconds):
                ratio = ratio_of_pairs(seconds, one_group)
                entry["relative to one group"] = ratio.to_json()
                text += f"; / one group: {ratio.describe()}"
        if name in GOALS:
            entry["goal"] = GOALS[name]
            text += f" (goal at most {GOALS[name]:g} of the longer)"
        steps[name] = {**entry, "text": text}
    return steps
