"""Bytes and packets that a network device has sent, as the kernel counts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.network.link import DEVICE, HEADER_BYTES

# Columns of /proc/net/dev after the colon: 8 of what was received, then bytes, packets, errors
# and drops of what was sent.
_SENT_BYTES, _SENT_PACKETS, _SENT_DROPPED = 8, 9, 11


@dataclass(frozen=True, slots=True)
class Sent:
    """What a device has sent, or the difference of two readings.

    Attributes:
        num_bytes: Bytes, with the headers of IP and TCP. A TUN device has no Ethernet header.
        num_packets: Packets, acknowledgements included.
        num_dropped: Packets that the device dropped.
    """

    num_bytes: int
    num_packets: int
    num_dropped: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.num_bytes + other.num_bytes,
            self.num_packets + other.num_packets,
            self.num_dropped + other.num_dropped,
        )

    def __sub__(self, other: Sent) -> Sent:
        return Sent(
            self.num_bytes - other.num_bytes,
            self.num_packets - other.num_packets,
            self.num_dropped - other.num_dropped,
        )

    @property
    def header_bytes(self) -> int:
        """Bytes of headers: 52 per packet with IPv4, TCP and its timestamps."""
        return self.num_packets * HEADER_BYTES

    @property
    def payload_bytes(self) -> int:
        """Bytes that are not headers."""
        return self.num_bytes - self.header_bytes

    def to_json(self) -> dict[str, int]:
        """Returns all numbers."""
        return {
            "bytes": self.num_bytes,
            "packets": self.num_packets,
            "dropped": self.num_dropped,
            "header bytes": self.header_bytes,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sent:
        """Returns the numbers that `to_json` has written."""
        return cls(value["bytes"], value["packets"], value["dropped"])

    def describe(self) -> str:
        """Returns bytes and packets as text."""
        dropped = f", {self.num_dropped:,} dropped" if self.num_dropped else ""
        return f"{self.num_bytes / 1e6:,.3f} MB in {self.num_packets:,} packets{dropped}"


def parse(table: str, device: str = DEVICE) -> Sent:
    """Returns what a device has sent according to the text of `/proc/net/dev`.

    Raises:
        KeyError: If the table does not have the device.
    """
    for line in table.splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == device:
            columns = [int(number) for number in numbers.split()]
            return Sent(columns[_SENT_BYTES], columns[_SENT_PACKETS], columns[_SENT_DROPPED])
    raise KeyError(device)


def sent_by_this_host(device: str = DEVICE) -> Sent:
    """Returns what a device of this process's network namespace has sent so far."""
    # Not /sys/class/net, which shows the namespace in which it was mounted.
    return parse(Path("/proc/self/net/dev").read_text(encoding="ascii"), device)
