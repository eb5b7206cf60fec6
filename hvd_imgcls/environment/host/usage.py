"""The use of a host over some time, and how uses of neighbouring times are combined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

MAX_GPUS = 16
"""Number of GPUs of a host that are reported; further ones are left out."""

UNKNOWN = math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUsage:
    """Use of one GPU. NaN: unknown.

    Attributes:
        share: Fraction of time in which the GPU was computing, 0 to 1, as NVML reports it.
        memory_used_bytes: Highest.
        memory_total_bytes: All of it.
    """

    share: float = UNKNOWN
    memory_used_bytes: float = UNKNOWN
    memory_total_bytes: float = UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class HostUsage:
    """Use of a host by all its processes. NaN: unknown.

    Attributes:
        seconds: Time that it covers; 0 if nothing was measured.
        num_cores: Logical cores.
        cpu_share: Fraction of the cores that was busy, 0 to 1.
        load: Load average of one minute, mean.
        memory_total_bytes: Memory of the host, or what the control group may use if that is less.
        memory_used_bytes: Highest, without caches.
        memory_available_bytes: Lowest: what processes could still have taken.
        network_in: Received bytes per second, by the physical interfaces.
        network_out: Sent bytes per second.
        disk_read: Bytes per second read from disks of the host.
        disk_write: Bytes per second written to them.
        gpus: Its GPUs, in the order of NVML.
    """

    seconds: float = 0.0
    num_cores: float = UNKNOWN
    cpu_share: float = UNKNOWN
    load: float = UNKNOWN
    memory_total_bytes: float = UNKNOWN
    memory_used_bytes: float = UNKNOWN
    memory_available_bytes: float = UNKNOWN
    network_in: float = UNKNOWN
    network_out: float = UNKNOWN
    disk_read: float = UNKNOWN
    disk_write: float = UNKNOWN
    gpus: tuple[GpuUsage, ...] = ()

    def to_row(self) -> list[float]:
        """Returns the numbers in a fixed order, `[ROW_LENGTH]`."""
        row = [getattr(self, name) for name in _NUMBERS]
        for index in range(MAX_GPUS):
            gpu = self.gpus[index] if index < len(self.gpus) else GpuUsage()
            row += [getattr(gpu, name) for name in _GPU_NUMBERS]
        return [*row, float(min(len(self.gpus), MAX_GPUS))]

    @classmethod
    def from_row(cls, row: Sequence[float]) -> HostUsage:
        """Reverts `to_row`."""
        values = [float(value) for value in row]
        gpus = [
            GpuUsage(**dict(zip(_GPU_NUMBERS, values[first:], strict=False)))
            for first in range(len(_NUMBERS), ROW_LENGTH - 1, len(_GPU_NUMBERS))
        ]
        return cls(**dict(zip(_NUMBERS, values, strict=False)), gpus=tuple(gpus[: int(values[-1])]))


_GPU_NUMBERS = tuple(field.name for field in fields(GpuUsage))
_NUMBERS = tuple(field.name for field in fields(HostUsage) if field.name != "gpus")
ROW_LENGTH = len(_NUMBERS) + MAX_GPUS * len(_GPU_NUMBERS) + 1
"""Numbers in a row of `HostUsage.to_row`."""

_HIGHEST = {"num_cores", "memory_total_bytes", "memory_used_bytes"}
_LOWEST = {"memory_available_bytes"}


def combine(usages: Sequence[HostUsage]) -> HostUsage:
    """Returns the use over several times: means by time, the highest and lowest of memory.

    >>> combine([HostUsage(seconds=1, load=2.0), HostUsage(seconds=3, load=4.0)]).load
    3.5

    Args:
        usages: In any order; unknown values are left out.
    """
    seconds = [usage.seconds for usage in usages]
    num_gpus = max((len(usage.gpus) for usage in usages), default=0)
    return HostUsage(
        seconds=sum(seconds),
        **_combined(_NUMBERS[1:], usages, seconds),
        gpus=tuple(
            GpuUsage(
                **_combined(
                    _GPU_NUMBERS,
                    [usage.gpus[index] for usage in usages if index < len(usage.gpus)],
                    [usage.seconds for usage in usages if index < len(usage.gpus)],
                )
            )
            for index in range(num_gpus)
        ),
    )


def _combined(
    names: Iterable[str], values: Sequence[Any], seconds: Sequence[float]
) -> dict[str, float]:
    combined = {}
    for name in names:
        known = [
            (getattr(value, name), weight)
            for value, weight in zip(values, seconds, strict=True)
            if not math.isnan(getattr(value, name)) and weight > 0
        ]
        if not known:
            combined[name] = UNKNOWN
        elif name in _HIGHEST:
            combined[name] = max(value for value, _ in known)
        elif name in _LOWEST:
            combined[name] = min(value for value, _ in known)
        else:
            combined[name] = sum(value * weight for value, weight in known) / sum(
                weight for _, weight in known
            )
    return combined
