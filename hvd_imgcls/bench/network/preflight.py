"""Measures a network before it is used, and refuses one that is not as intended."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.network import probe
from hvd_imgcls.bench.network.counters import Sent
from hvd_imgcls.bench.network.link import Link, problem_of
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.programs import Program
from hvd_imgcls.errors import HvdImgclsError

logger = logging.getLogger(__name__)

_CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
_SECONDS = 2.0
_TIMEOUT_SECONDS = 90.0
# A busy machine may delay the relay at the wrong moment.
_TRIES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A link as measured over TCP.

    Attributes:
        round_trip_seconds: Median round trip of one byte, on the idle network.
        bytes_per_second: Payload that one host receives while all send, the mean over hosts.
    """

    round_trip_seconds: float
    bytes_per_second: float

    def to_json(self) -> dict[str, Any]:
        """Returns both numbers in ms and Mbit/s."""
        return {
            "round trip ms": round(1e3 * self.round_trip_seconds, 3),
            "Mbit/s": round(8e-6 * self.bytes_per_second, 2),
        }


def require_as_intended(network: SlowNetwork) -> Measured:
    """Measures round trip and throughput between neighbours over TCP.

    Raises:
        HvdImgclsError: If they are not those of the link, in several tries.
    """
    problem = None
    for _ in range(_TRIES):
        round_trips = _measure(network, "round-trips")
        rates = _measure(network, "throughput")
        measured = Measured(
            round_trip_seconds=statistics.median(round_trips),
            bytes_per_second=statistics.mean(rates),
        )
        logger.info("  the link over TCP: %s", measured.to_json())
        problem = problem_of(network.link, round_trips, rates)
        if problem is None:
            return measured
        logger.warning("%s", problem)
    raise HvdImgclsError(f"{problem}; end other programs on this machine, and try again")


def conditions_of(link: Link, found: Measured, sent: Sequence[Sent]) -> dict[str, Any]:
    """Returns the conditions of a measurement, for its results.

    Args:
        link: The intended properties.
        found: What was measured before.
        sent: What each host has sent.
    """
    return {
        "simulated": dataclasses.asdict(link),
        "congestion control": Path(_CONGESTION_CONTROL).read_text(encoding="ascii").strip(),
        "link before": found.to_json(),
        "sent by hosts": [one.to_json() for one in sent],
    }


def _measure(network: SlowNetwork, what: str) -> list[float]:
    """Returns the results of all hosts, one after the other."""
    num_hosts = network.link.num_hosts
    script, words = str(Path(probe.__file__)), [str(num_hosts), what, str(_SECONDS)]
    programs = [
        Program(
            name=f"the probe on host {host}",
            host=host,
            command=[sys.executable, script, str(host), *words],
            environment=os.environ,
        )
        for host in range(num_hosts)
    ]
    results: list[float] = []

    def note(_: Program, line: str) -> None:
        if line.startswith("["):
            results.extend(json.loads(line))

    network.run(programs, _TIMEOUT_SECONDS, note)
    return results
