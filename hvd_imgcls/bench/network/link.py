"""The properties of a simulated network, and whether a measured link has them. Arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hvd_imgcls.errors import ConfigError

MOST_HOSTS = 4
DEVICE = "tun0"
"""Name of the network device of every host."""
RENDEZVOUS_PORT = 29400
BASELINE_RENDEZVOUS_PORT = 29402
"""Ports of Horovod's rendezvous servers on the first host: for the ranks, and for processes that
they start and that communicate among themselves."""

# Without VLAN tags, options of IP or selective acknowledgements: IPv4, TCP, and its timestamps.
HEADER_BYTES = 20 + 20 + 12

_SUBNET = "10.88.0"
_SUBNET_BYTES = bytes(int(part) for part in _SUBNET.split("."))
# The relay needs a moment to wake up for each packet, in both directions.
_SHARE_OF_ROUND_TRIP, _MS_OF_RELAY = 0.1, 1.0
_LEAST_SHARE_OF_RATE, _MOST_SHARE_OF_RATE = 0.93, 1.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A star of hosts, each with a full-duplex link of the same properties.

    Attributes:
        num_hosts: Number of hosts, 2 to 4.
        rate_mbit: Rate of each host's link in either direction, in Mbit/s, headers included.
        round_trip_ms: Time to another host and back, in ms.
        mtu: Largest packet, in bytes. Larger than that of Ethernet, because the relay's time is
            per packet: 100 Mbit/s are 1,400 packets per second.

    Raises:
        ConfigError: If a value is out of range.
    """

    num_hosts: int
    rate_mbit: float = 100.0
    round_trip_ms: float = 10.0
    mtu: int = 9000

    def __post_init__(self) -> None:
        for key, value, least, most in (
            ("hosts of the network", self.num_hosts, 2, MOST_HOSTS),
            ("--rate", self.rate_mbit, 1, 2000),
            ("--round-trip", self.round_trip_ms, 0, 1000),
            ("the largest packet", self.mtu, 1280, 65000),
        ):
            if not least <= value <= most:
                raise ConfigError(key, got=value, expected=f"{least} .. {most}", fix="correct it")

    @property
    def bytes_per_second(self) -> float:
        """Rate of a link in one direction, headers included."""
        return self.rate_mbit * 1e6 / 8

    @property
    def one_way_seconds(self) -> float:
        """Time for which the relay holds a packet."""
        return self.round_trip_ms / 2e3

    @property
    def burst_bytes(self) -> int:
        """What may leave at once after a pause: two packets, or 1 ms of a fast link.

        The kernel needs at least one packet and, for timers, some time of the rate.
        """
        return max(2 * self.mtu, int(self.bytes_per_second / 1000))

    @property
    def queue_bytes(self) -> int:
        """Length of the queue before a link: several times what is on the way."""
        return max(4_000_000, int(4 * self.bytes_per_second * self.round_trip_ms / 1e3))

    def describe(self) -> str:
        """Returns the properties as text."""
        return f"{self.num_hosts} hosts, {self.rate_mbit:g} Mbit/s, {self.round_trip_ms:g} ms"


def host_name(index: int) -> str:
    """Returns the name of a host, by its index from 0."""
    return f"host{index}"


def address(index: int) -> str:
    """Returns the IPv4 address of a host, by its index from 0."""
    return f"{_SUBNET}.{index + 1}"


def index_of_packet(packet: bytes) -> int | None:
    """Returns the index of the host that an IPv4 packet is addressed to; None for other packets.

    >>> index_of_packet(bytes([0x45]) + bytes(15) + bytes([10, 88, 0, 3]))
    2
    """
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16:19] != _SUBNET_BYTES:
        return None
    return packet[19] - 1


def hosts_file(num_hosts: int) -> str:
    """Returns the contents of /etc/hosts: Gloo binds to the address of the own name."""
    lines = [f"{address(index)} {host_name(index)}" for index in range(num_hosts)]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


def problem_of(
    link: Link, round_trips: Sequence[float], bytes_per_second: Sequence[float]
) -> str | None:
    """Returns what is wrong with a measured network; None if it is as intended.

    Args:
        link: The intended properties.
        round_trips: Round trips over TCP in seconds, of every host.
        bytes_per_second: Payload of TCP that each host received.

    >>> problem_of(Link(num_hosts=2), [0.0102, 0.0103], [12.3e6, 12.4e6])
    >>> problem_of(Link(num_hosts=2), [0.0021, 0.0022], [12.3e6, 12.4e6])
    'the link: got a round trip of 2.15 ms, expected 9 to 12 ms'
    """
    share = _SHARE_OF_ROUND_TRIP * link.round_trip_ms
    low, high = link.round_trip_ms - share, link.round_trip_ms + share + _MS_OF_RELAY
    milliseconds = 1e3 * statistics.median(round_trips)
    found = []
    if not low <= milliseconds <= high:
        found.append(
            f"the link: got a round trip of {milliseconds:.2f} ms, expected {low:g} to {high:g} ms"
        )
    low, high = (share * link.rate_mbit for share in (_LEAST_SHARE_OF_RATE, _MOST_SHARE_OF_RATE))
    rates = [8e-6 * rate for rate in bytes_per_second]
    if not (low <= min(rates) and max(rates) <= high):
        found.append(
            f"the link: got {min(rates):.1f} to {max(rates):.1f} Mbit/s, "
            f"expected {low:g} to {high:g} Mbit/s"
        )
    return "; ".join(found) or None
