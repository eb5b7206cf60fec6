"""The relay: takes packets from the hosts' TUN devices, and delivers them after a delay."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from hvd_imgcls.bench.network.link import Link, index_of_packet

# Packets that are taken from one host before it is the next one's turn.
_PACKETS_PER_TURN = 64
# A port that is exactly as fast as the senders would never catch up after a hiccup.
_PORT_HEADROOM = 1.02


class Port:
    """The end of the link to one host: packets in flight, in order.

    A switch cannot send more to a host than its link carries, even if several others send to it:
    packets beyond a burst follow each other at the rate of the link.

    Args:
        link: The properties of the network.
    """

    def __init__(self, link: Link) -> None:
        self.packets: deque[tuple[float, bytes]] = deque()
        self._rate = link.bytes_per_second * _PORT_HEADROOM
        self._delay = link.one_way_seconds
        self._credit_seconds = link.burst_bytes / self._rate
        self._busy_until = 0.0

    def accept(self, packet: bytes, now: float) -> None:
        """Schedules the delivery of a packet that was sent at `now`, in seconds."""
        arrival = now + self._delay
        start = max(arrival, self._busy_until - self._credit_seconds)
        self._busy_until = max(arrival, self._busy_until) + len(packet) / self._rate
        self.packets.append((start, packet))


class Relay:
    """Moves packets between the devices of the hosts.

    Args:
        link: The properties of the network.
        devices: File descriptors of the hosts' TUN devices, not blocking.

    Attributes:
        num_packets: Packets delivered.
        num_lost: Packets that were addressed to no host, or that the receiver did not take.
        late_seconds: Sum over packets of how much later than intended they were delivered.
        latest_seconds: The maximum of it.
    """

    def __init__(self, link: Link, devices: Sequence[int]) -> None:
        self._devices = list(devices)
        self._ports = [Port(link) for _ in devices]
        self._largest_packet = link.mtu + 64
        self.reset()

    def reset(self) -> None:
        """Sets all counts to 0."""
        self.num_packets = self.num_lost = 0
        self.late_seconds = self.latest_seconds = 0.0
        self._cpu_before = time.process_time()

    def to_json(self) -> dict[str, Any]:
        """Returns the counts, and the CPU time of this process since `reset`."""
        mean = self.late_seconds / max(1, self.num_packets)
        return {
            "packets": self.num_packets,
            "lost": self.num_lost,
            "mean ms late": round(1e3 * mean, 3),
            "most ms late": round(1e3 * self.latest_seconds, 3),
            "cpu seconds": round(time.process_time() - self._cpu_before, 3),
        }

    def work(self, other: int, most_seconds: float) -> bool:
        """Moves packets until `other` can be read or the time is over.

        Args:
            other: Another file descriptor.
            most_seconds: Maximum duration.

        Returns:
            Whether `other` can be read.
        """
        deadline = time.monotonic() + most_seconds
        while True:
            due = self._deliver()
            now = time.monotonic()
            if now >= deadline:
                return False
            # Not epoll, whose timeouts are whole milliseconds.
            ready, _, _ = select.select(
                [*self._devices, other], [], [], max(0.0, min(due, deadline) - now)
            )
            for device in ready:
                if device != other:
                    self._take(device)
            if other in ready:
                return True

    def _take(self, device: int) -> None:
        now = time.monotonic()
        for _ in range(_PACKETS_PER_TURN):
            try:
                packet = os.read(device, self._largest_packet)
            except BlockingIOError:
                return
            index = index_of_packet(packet)
            if index is None or not 0 <= index < len(self._ports):
                self.num_lost += 1
            else:
                self._ports[index].accept(packet, now)

    def _deliver(self) -> float:
        """Delivers what is due; returns when the next packet is, in seconds of `monotonic`."""
        due = float("inf")
        for device, port in zip(self._devices, self._ports, strict=True):
            now = time.monotonic()
            while port.packets and port.packets[0][0] <= now:
                intended, packet = port.packets.popleft()
                late = now - intended
                self.num_packets += 1
                self.late_seconds += late
                self.latest_seconds = max(self.latest_seconds, late)
                delivered = False
                with contextlib.suppress(OSError):
                    delivered = os.write(device, packet) == len(packet)
                self.num_lost += not delivered
            if port.packets:
                due = min(due, port.packets[0][0])
        return due
