"""`bench bytes`: what a rank sends in a step, relative to a ring allreduce of float32 gradients.

On hosts of a simulated network, as counted by their devices. The headers of IP and TCP, which
depend on the size of packets, are told apart from the payload.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.communication.arithmetic import step_bytes
from hvd_imgcls.bench.communication.settings import Settings
from hvd_imgcls.bench.communication.steps_on_network import run_steps
from hvd_imgcls.bench.communication.ways import Way, chosen
from hvd_imgcls.bench.network.counters import Sent

logger = logging.getLogger(__name__)


def run(settings: Settings) -> dict[str, Any]:
    """Measures all ways and returns the results by number of ranks."""
    ways = chosen(settings.ways)
    results = {}
    for size in settings.ranks:
        measured = run_steps(settings, size, [way.name for way in ways], compute_seconds=0.0)
        of_ways = {way.name: shares(measured, way) for way in ways}
        for name, one in of_ways.items():
            logger.log(logs.RESULT, "%d ranks, %s: %s", size, name, one["text"])
        results[f"{size} ranks"] = {**measured, "ways": of_ways}
    return results


def shares(measured: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """Returns what the rank that sends most sends in a step, relative to the formula.

    Args:
        measured: Result of `step_arms.measure`.
        way: The way.

    Returns:
        `payload`, `headers` and `total`, and what was sent in a step by each rank, in bytes.
    """
    formula = step_bytes(measured["weights"], measured["ranks"])
    steps = measured["steps"]
    by_rank = [Sent.from_json(one) for one in measured["arms"][way.name]["sent by ranks"]]
    most = max(by_rank, key=lambda sent: sent.num_bytes)
    payload = most.payload_bytes / steps / formula
    total = most.num_bytes / steps / formula
    result = {
        "payload": round(payload, 5),
        "headers": round(total - payload, 5),
        "total": round(total, 5),
        "bytes per step by rank": [round(sent.num_bytes / steps) for sent in by_rank],
        "formula": round(formula),
    }
    text = (
        f"payload {payload:.4f} of {formula / 1e6:.2f} MB, headers {total - payload:.4f} "
        f"({most.num_packets / steps:,.0f} packets)"
    )
    if way.most_bytes is not None:
        result["goal"] = f"payload at most {way.most_bytes:g}"
        result["reached"] = payload <= way.most_bytes
        text += f" (goal at most {way.most_bytes:g})"
    return {**result, "text": text}
