"""Options and settings of the benchmarks of communication."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.bench.network.link import Link
from hvd_imgcls.errors import ConfigError

ALLREDUCE, BYTES, OVERLAP, SLOW_NETWORK = "allreduce", "bytes", "overlap", "slow-network"
NAMES = (ALLREDUCE, BYTES, OVERLAP, SLOW_NETWORK)
ON_THIS_MACHINE = (ALLREDUCE, OVERLAP)
"""Without a rate, they simulate no network."""

OWN_OPTIONS = {
    "ranks": list(NAMES),
    "rate": list(NAMES),
    "round_trip": list(NAMES),
    "plot": [ALLREDUCE],
    "largest": [ALLREDUCE],
    "ways": [BYTES, SLOW_NETWORK],
    "compute": [OVERLAP, SLOW_NETWORK],
    "groups": [OVERLAP],
}
"""Benchmarks that have an option, by its name in the arguments."""

_DEFAULT_RATE, _DEFAULT_ROUND_TRIP = 100.0, 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Command-line settings.

    Attributes:
        pairs: Turns of every arm.
        ranks: Numbers of ranks to measure.
        rate_mbit: Rate of the simulated network; None for a real one.
        round_trip_ms: Its round trip in ms.
        torch_python: Interpreter of an environment with PyTorch.
        plot: The page with the plots.
        largest: Size of the largest message in MiB.
        ways: Names of the ways to measure, of those in `ways.py`; all when empty.
        compute_seconds: Time of the simulated forward and backward pass; None for the default.
        groups: Numbers of groups in which gradients are sent.
    """

    pairs: int
    ranks: Sequence[int] = (2, 4)
    rate_mbit: float | None = None
    round_trip_ms: float = _DEFAULT_ROUND_TRIP
    torch_python: Path | None = None
    plot: Path | None = None
    largest: int = 128
    ways: Sequence[str] = ()
    compute_seconds: float | None = None
    groups: Sequence[int] = (1, 2, 4, 8, 16)

    def link(self, num_hosts: int) -> Link:
        """Returns the links of a simulated network, by default of 100 Mbit/s.

        Raises:
            ConfigError: If the settings are out of range.
        """
        rate = _DEFAULT_RATE if self.rate_mbit is None else self.rate_mbit
        return Link(num_hosts=num_hosts, rate_mbit=rate, round_trip_ms=self.round_trip_ms)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("bench " + ", ".join(NAMES))
    group.add_argument(
        "--ranks",
        nargs="+",
        type=int,
        metavar="N",
        help="numbers of ranks (default: 2 4; under a launcher, its ranks)",
    )
    group.add_argument(
        "--rate",
        type=float,
        metavar="MBIT",
        help="Mbit/s of a simulated network, which needs root (default: 100; allreduce, overlap: "
        "the real network)",
    )
    group.add_argument(
        "--round-trip",
        type=float,
        metavar="MS",
        help="round trip of the simulated network in ms (default: 10)",
    )
    group.add_argument("--plot", type=Path, metavar="HTML", help="page with plots of bandwidths")
    group.add_argument(
        "--largest", type=int, metavar="MIB", help="largest message in MiB (default: 128)"
    )
    group.add_argument("--ways", nargs="+", metavar="WAY", help="compressions (default: all)")
    group.add_argument(
        "--compute",
        type=float,
        metavar="SECONDS",
        help="simulated time of computing in every step (default: 0.5; overlap: as long as "
        "communicating takes)",
    )
    group.add_argument(
        "--groups",
        nargs="+",
        type=int,
        metavar="N",
        help="numbers of groups in which gradients are sent (default: 1 2 4 8 16)",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Returns the settings of parsed arguments.

    Raises:
        ConfigError: If a value is out of range.
    """
    given = {
        "ranks": tuple(arguments.ranks) if arguments.ranks else None,
        "rate_mbit": arguments.rate,
        "round_trip_ms": arguments.round_trip,
        "torch_python": arguments.torch_python,
        "plot": arguments.plot,
        "largest": arguments.largest,
        "ways": arguments.ways,
        "compute_seconds": arguments.compute,
        "groups": tuple(arguments.groups) if arguments.groups else None,
    }
    settings = Settings(
        pairs=arguments.pairs,
        **{key: value for key, value in given.items() if value is not None},
    )
    is_here = arguments.name in ON_THIS_MACHINE and arguments.rate is None
    if is_here and arguments.round_trip is not None:
        raise ConfigError(
            "--round-trip",
            got=arguments.round_trip,
            expected="nothing without --rate, which simulates a network",
            fix="add --rate MBIT",
        )
    _require(min(settings.ranks) >= 2, "--ranks", settings.ranks, "2 or more")
    _require(1 <= settings.largest <= 1024, "--largest", settings.largest, "1 .. 1024 (MiB)")
    seconds = settings.compute_seconds or 0.0
    _require(0 <= seconds <= 60, "--compute", seconds, "0 .. 60 (seconds)")
    _require(min(settings.groups) >= 1, "--groups", settings.groups, "1 or more")
    if not is_here:
        for num_hosts in settings.ranks:
            settings.link(num_hosts)
    return settings


def _require(condition: bool, option: str, got: object, expected: str) -> None:
    if not condition:
        raise ConfigError(option, got=got, expected=expected, fix="correct it")
