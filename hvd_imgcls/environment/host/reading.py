"""Reads the counters of a host from `/proc` and `/sys`, mostly through psutil."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from hvd_imgcls.environment.host.control_group import memory_limit
from hvd_imgcls.environment.host.gpus import NvidiaGpus
from hvd_imgcls.environment.host.usage import UNKNOWN, GpuUsage, HostUsage

logger = logging.getLogger(__name__)

Pairs = Mapping[str, tuple[int, int]]
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostReading:
    """The counters of a host at one moment.

    Attributes:
        time: Seconds since an arbitrary moment.
        busy_seconds: Time in which cores were busy, over all cores.
        core_seconds: Time of all cores, busy or not.
        num_cores: Logical cores.
        load: Load average of one minute.
        memory_total_bytes: See `HostUsage`.
        memory_used_bytes: The same.
        memory_available_bytes: The same.
        network: Bytes received and sent by interface.
        disks: Bytes read and written by disk.
        gpus: The GPUs.
    """

    time: float
    busy_seconds: float = UNKNOWN
    core_seconds: float = UNKNOWN
    num_cores: float = UNKNOWN
    load: float = UNKNOWN
    memory_total_bytes: float = UNKNOWN
    memory_used_bytes: float = UNKNOWN
    memory_available_bytes: float = UNKNOWN
    network: Pairs | None = None
    disks: Pairs | None = None
    gpus: tuple[GpuUsage, ...] = field(default=())


def usage_between(before: HostReading, after: HostReading) -> HostUsage:
    """Returns the use of a host between two readings; of 0 seconds if no time has passed."""
    seconds = after.time - before.time
    if seconds <= 0:
        return HostUsage()
    network_in, network_out = _rates(before.network, after.network, seconds)
    disk_read, disk_write = _rates(before.disks, after.disks, seconds)
    passed = after.core_seconds - before.core_seconds
    busy = after.busy_seconds - before.busy_seconds
    return HostUsage(
        seconds=seconds,
        num_cores=after.num_cores,
        # Counters of cores that are switched off are gone, and those of idle time may go back.
        cpu_share=min(1.0, max(0.0, busy / passed)) if passed > 0 else UNKNOWN,
        load=after.load,
        memory_total_bytes=after.memory_total_bytes,
        memory_used_bytes=after.memory_used_bytes,
        memory_available_bytes=after.memory_available_bytes,
        network_in=network_in,
        network_out=network_out,
        disk_read=disk_read,
        disk_write=disk_write,
        gpus=after.gpus,
    )


def _rates(before: Pairs | None, after: Pairs | None, seconds: float) -> tuple[float, float]:
    """Returns the increase per second of both counters, over the devices that were there before."""
    if before is None or after is None:
        return UNKNOWN, UNKNOWN
    first, second = (
        sum(increase(before[name][i], after[name][i]) for name in after if name in before)
        for i in range(2)
    )
    return first / seconds, second / seconds


def increase(before: int, after: int) -> int:
    """Returns by how much a counter has increased.

    A counter that is lower than before has wrapped, or its device was reset: what it has counted
    since then is certain.

    >>> increase(10, 15), increase(2**32 - 1, 4)
    (5, 4)
    """
    return after - before if after >= before else after


class HostReader:
    """Reads the counters of this host. What cannot be read is unknown, and no error.

    Args:
        gpus: Reads the GPUs; None without any.
        system: The directory of `sysfs`.
    """

    def __init__(self, gpus: NvidiaGpus | None = None, system: Path = Path("/sys")) -> None:
        self._gpus = gpus
        self._system = system
        self._is_physical: dict[Path, bool] = {}
        self._failed: set[str] = set()

    def read(self) -> HostReading:
        """Returns the counters now."""
        busy, total = self._try(_cpu_seconds, (UNKNOWN, UNKNOWN))
        memory = self._try(_memory, (UNKNOWN, UNKNOWN, UNKNOWN))
        return HostReading(
            time=time.monotonic(),
            busy_seconds=busy,
            core_seconds=total,
            num_cores=float(os.cpu_count() or 1),
            load=self._try(_load, UNKNOWN),
            memory_total_bytes=memory[0],
            memory_used_bytes=memory[1],
            memory_available_bytes=memory[2],
            network=self._try(self._network, None),
            disks=self._try(self._disks, None),
            gpus=() if self._gpus is None else self._try(self._gpus.read, ()),
        )

    def _network(self) -> Pairs:
        # Its own guess at wrapped counters would be a second one.
        counters = psutil.net_io_counters(pernic=True, nowrap=False) or {}
        names = self._physical(counters, self._system / "class" / "net")
        return {
            name: (counters[name].bytes_recv, counters[name].bytes_sent)
            for name in names or set(counters) - {"lo"}
        }

    def _disks(self) -> Pairs:
        counters = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        return {
            name: (counters[name].read_bytes, counters[name].write_bytes)
            for name in self._physical(counters, self._system / "block")
        }

    def _physical(self, names: Mapping[str, object], folder: Path) -> set[str]:
        """Returns the devices that are hardware: others count the same bytes again.

        Bridges, bonds and volumes of several disks have no `device`, nor have partitions.
        """
        found = set()
        for name in names:
            path = folder / name / "device"
            if path not in self._is_physical:
                self._is_physical[path] = path.exists()
            if self._is_physical[path]:
                found.add(name)
        return found

    def _try(self, read: Callable[[], _Value], otherwise: _Value) -> _Value:
        try:
            return read()
        except Exception as error:
            # Containers hide files, and kernels differ: training does not depend on them.
            name = getattr(read, "__name__", "")
            if name not in self._failed:
                self._failed.add(name)
                logger.debug("%s: %s: %s", name.strip("_"), type(error).__name__, error)
            return otherwise


def _cpu_seconds() -> tuple[float, float]:
    """Returns the busy time of all cores, and their whole time, in seconds."""
    times = psutil.cpu_times()
    # Time of guests is part of that of users.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _load() -> float:
    return os.getloadavg()[0]


def _memory() -> tuple[float, float, float]:
    """Returns total, used and available bytes, of the control group if that may use less."""
    memory = psutil.virtual_memory()
    limit = memory_limit()
    if limit is None or limit.total >= memory.total:
        return float(memory.total), float(memory.used), float(memory.available)
    available = min(memory.available, limit.total - limit.used)
    return float(limit.total), float(limit.used), float(max(0, available))
