"""Samples the use of a host in a thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from hvd_imgcls.environment.host.gpus import find_gpus
from hvd_imgcls.environment.host.reading import HostReader, usage_between
from hvd_imgcls.environment.host.usage import HostUsage, combine

SAMPLE_SECONDS = 1.0
_MOST_SAMPLES = 60


class HostSampler:
    """A thread that samples the use of this host once per second.

    Nothing waits for it: a driver or file system that does not answer only leaves the use unknown.

    Args:
        reader: Reads the counters. By default of this host, with its GPUs, found by the thread.
        seconds: Time between two samples.
    """

    def __init__(
        self, reader: HostReader | None = None, *, seconds: float = SAMPLE_SECONDS
    ) -> None:
        self._reader = reader
        self._seconds = seconds
        self._lock = threading.Lock()
        self._samples: list[HostUsage] = []
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Context manager in which the thread samples."""
        thread = threading.Thread(target=self._run, daemon=True, name="host sampler")
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()

    def take(self) -> HostUsage:
        """Returns the use since the last call; of 0 seconds if there was no sample."""
        with self._lock:
            samples, self._samples = self._samples, []
        return combine(samples)

    def _run(self) -> None:
        reader = self._reader or HostReader(find_gpus())
        before = reader.read()
        while not self._stopped.wait(self._seconds):
            after = reader.read()
            usage, before = usage_between(before, after), after
            with self._lock:
                self._samples.append(usage)
                if len(self._samples) >= _MOST_SAMPLES:
                    self._samples = [combine(self._samples)]
