"""Measures the network between pairs of hosts."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hvd_imgcls.doctor.hosts.asking import words_of
from hvd_imgcls.launcher.network import is_local
from hvd_imgcls.launcher.ssh import Ssh

_MODULE = "hvd_imgcls.doctor.hosts.link_program"
_MEASURE_SECONDS = 20.0
# With more hosts, only neighbours are measured, as tensors travel in a ring.
_MAX_HOSTS_FOR_ALL_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Link:
    """The way from one host to another.

    Attributes:
        source: Name of the host that sent.
        target: Name of the other.
        problem: Why nothing was measured, '' if it was.
        round_trip: Seconds.
        bytes_per_second: From source to target.
    """

    source: str
    target: str
    problem: str = ""
    round_trip: float = 0.0
    bytes_per_second: float = 0.0


def measure_links(addresses: dict[str, str], ssh: Ssh) -> Iterator[Link]:
    """Yields a measurement for every pair of hosts, or for neighbours if there are many.

    One after the other, so that they do not share a link.

    Args:
        addresses: The address of each host in the network of the run, by name.
        ssh: How hosts are reached.
    """
    secret = secrets.token_hex(32)
    with contextlib.ExitStack() as stack:
        ports = {}
        for host, address in addresses.items():
            server = stack.enter_context(_server(host, address, ssh, secret))
            ports[host] = server
        for source, target in pairs(list(addresses)):
            port = ports[target]
            if port is None:
                yield Link(source, target, f"the measurement could not be started on {target}")
            else:
                yield _measure(source, target, [addresses[target], str(port)], ssh, secret)


def pairs(hosts: Sequence[str]) -> list[tuple[str, str]]:
    """Returns which hosts are measured: all pairs of a few, neighbours of many."""
    if len(hosts) <= _MAX_HOSTS_FOR_ALL_PAIRS:
        return list(itertools.combinations(hosts, 2))
    return list(zip(hosts, [*hosts[1:], hosts[0]], strict=True))


@contextlib.contextmanager
def _server(host: str, address: str, ssh: Ssh, secret: str) -> Iterator[int | None]:
    words = words_of(_MODULE, "serve", address)
    process = subprocess.Popen(
        words if is_local(host) else ssh.command(host, words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("the pipes were asked for")
    with process:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{secret}\n")
            process.stdin.flush()
        line = process.stdout.readline().strip()
        yield int(line) if line.isdigit() else None
        process.stdin.close()
        process.terminate()


def _measure(source: str, target: str, place: list[str], ssh: Ssh, secret: str) -> Link:
    words = words_of(_MODULE, "measure", *place)
    try:
        done = subprocess.run(
            words if is_local(source) else ssh.command(source, words),
            input=f"{secret}\n",
            capture_output=True,
            text=True,
            timeout=_MEASURE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Link(source, target, f"no answer within {_MEASURE_SECONDS:.0f} s")
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return Link(source, target, said[-1] if said else f"exit code {done.returncode}")
    found = json.loads(done.stdout)
    return Link(source, target, "", found["round_trip"], found["bytes_per_second"])
