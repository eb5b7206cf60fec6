"""The use of cores and memory by this process."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from hvd_imgcls.environment.host.usage import UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessUsage:
    """Use by a process and its threads, over some time.

    Attributes:
        seconds: Time that it covers.
        cpu_seconds: Time of cores that was used.
        memory_bytes: Resident memory at the end; NaN if unknown.
    """

    seconds: float
    cpu_seconds: float
    memory_bytes: float


class ProcessUsageClock:
    """Measures the use by this process from one call of `take` to the next."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._time, self._cpu_seconds = time.monotonic(), time.process_time()

    def take(self) -> ProcessUsage:
        """Returns the use since the last call, or since the creation."""
        before = self._time, self._cpu_seconds
        self._time, self._cpu_seconds = time.monotonic(), time.process_time()
        return ProcessUsage(
            seconds=self._time - before[0],
            cpu_seconds=self._cpu_seconds - before[1],
            memory_bytes=self._memory(),
        )

    def _memory(self) -> float:
        try:
            return float(self._process.memory_info().rss)
        except (psutil.Error, OSError):
            return UNKNOWN
