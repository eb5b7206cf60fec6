"""Runs `step_arms` on a simulated network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hvd_imgcls.bench.communication.settings import Settings
from hvd_imgcls.bench.communication.work import StepWork, as_argument
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.preflight import conditions_of, require_as_intended
from hvd_imgcls.bench.network.ranks import run_module_on_hosts

logger = logging.getLogger(__name__)

STEPS = 2
"""Steps of a turn."""
_TIMEOUT_SECONDS = 3600.0


def run_steps(
    settings: Settings, size: int, arms: Sequence[str], *, compute_seconds: float
) -> dict[str, Any]:
    """Returns the result of `step_arms.measure`, with the properties of the network.

    Args:
        settings: The settings.
        size: Number of ranks, each on a host of its own.
        arms: Names of the arms.
        compute_seconds: See `StepWork`.
    """
    link = settings.link(size)
    work = StepWork(
        arms=tuple(arms), rounds=settings.pairs, steps=STEPS, compute_seconds=compute_seconds
    )
    logger.info("%s: %d rounds of %d steps of each arm ...", link.describe(), work.rounds, STEPS)
    with SlowNetwork(link) as network:
        found = require_as_intended(network)
        measured, sent = run_module_on_hosts(
            network,
            "hvd_imgcls.bench.communication.step_arms",
            ["{result}", as_argument(work)],
            threads=1,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
    return {**measured, **conditions_of(link, found, sent)}
