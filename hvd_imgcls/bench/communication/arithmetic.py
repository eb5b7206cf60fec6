"""Bandwidths and bounds of an allreduce. Plain arithmetic."""

from __future__ import annotations

KIB, MIB = 1024, 1024 * 1024
BYTES_OF_FLOAT = 4


def ring_share(size: int) -> float:
    """Returns what every rank sends in a ring allreduce, as a multiple of the message.

    2 (N - 1) / N: Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002, optimal for N ranks.

    >>> ring_share(2), ring_share(4)
    (1.0, 1.5)
    """
    return 2 * (size - 1) / size


def bus_bandwidth(num_bytes: float, size: int, seconds: float) -> float:
    """Returns the bus bandwidth of an allreduce in bytes per second, as nccl-tests defines it.

    (bytes / time) 2 (N - 1) / N, which can be compared with the rate of a link whatever the number
    of ranks (nccl-tests, doc/PERFORMANCE.md).

    Args:
        num_bytes: Bytes of the message of one rank.
        size: Number of ranks.
        seconds: Duration of one allreduce.

    >>> bus_bandwidth(100e6, 4, 12.0)
    12500000.0
    """
    return num_bytes / seconds * ring_share(size)


def ring_seconds(
    num_bytes: float, size: int, round_trip_seconds: float, bytes_per_second: float
) -> float:
    """Returns the time of a ring allreduce over links with these properties, without any work.

    2 (N - 1) messages follow each other, each after half a round trip.

    Args:
        num_bytes: Bytes of the message of one rank.
        size: Number of ranks.
        round_trip_seconds: Round trip of a small message.
        bytes_per_second: What a link carries in each direction.

    >>> round(ring_seconds(12.5e6, 2, 0.010, 12.5e6), 6)
    1.01
    """
    latency = 2 * (size - 1) * round_trip_seconds / 2
    return latency + ring_share(size) * num_bytes / bytes_per_second


def step_bytes(num_weights: int, size: int) -> float:
    """Returns the bytes that a rank sends to reduce float32 gradients in a ring.

    >>> step_bytes(1_000_000, 4)
    6000000.0
    """
    return ring_share(size) * BYTES_OF_FLOAT * num_weights


def message_sizes(least: int = KIB, most: int = 128 * MIB) -> list[int]:
    """Returns sizes of messages in bytes: every fourth power of two, and the largest.

    >>> message_sizes(KIB, 8 * KIB)
    [1024, 4096, 8192]
    """
    sizes = []
    while least < most:
        sizes.append(least)
        least *= 4
    return [*sizes, most]


def size_text(num_bytes: int) -> str:
    """Formats a size of a message.

    >>> size_text(1024), size_text(128 * MIB)
    ('1 KiB', '128 MiB')
    """
    if num_bytes >= MIB:
        return f"{num_bytes / MIB:g} MiB"
    return f"{num_bytes / KIB:g} KiB"
