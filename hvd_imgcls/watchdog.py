"""Ends a process that makes no progress, and says what it was doing."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import HangError

MARGIN_FOR_WAITING = 1.25
"""Factor on the limit while a process waits for others: the one that they wait for ends first."""

SECONDS_FOR_OTHERS = 3.0
"""Time in which the other ranks write what they are doing."""

_TICK_SECONDS = 0.5
# A thread that sleeps longer than this was stopped, with the process or the machine.
_LONGEST_TICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a process does now, and until when.

    Attributes:
        activity: What it does, a participle.
        seconds: How long that may take, if it does not wait for other processes.
        began: When it began, by `time.monotonic`.
        is_waiting: Returns whether it may be waiting for other processes at the moment.
    """

    activity: str
    seconds: float
    began: float
    is_waiting: Callable[[], bool]

    @property
    def limit(self) -> float:
        """How long it may take as it looks at the moment, in seconds."""
        return self.seconds * (MARGIN_FOR_WAITING if self.is_waiting() else 1.0)


class Watchdog:
    """A thread that ends the process if something takes too long. Nothing else can stop it.

    Time in which the whole process is stopped does not count.

    Args:
        name: Name of this process in file names, such as `rank-1`.
        names: Names of all processes.
        where: Returns the position in the work, for the message.
        details: Returns more about it, for the file.
        end: Called in the thread with the message, when the files are written: ends the process.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        *,
        where: Callable[[], str],
        details: Callable[[], str],
        end: Callable[[HangError], None],
    ) -> None:
        self._name = name
        self._names = names
        self._where = where
        self._details = details
        self._end = end
        self._expected: Expectation | None = None
        self._directory: Path | None = None
        self._has_written = False
        self._stopped = threading.Event()

    def write_to(self, directory: Path) -> None:
        """Sets the directory for the files: of one run, the same for all its processes."""
        self._directory = directory

    def expect(
        self,
        activity: str,
        seconds: float | None,
        *,
        is_waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        """Declares what the process does from now on, instead of what it did before.

        Args:
            activity: What it does, a participle.
            seconds: How long it may take; None for no limit.
            is_waiting: Returns, called in a thread, whether it may be waiting for other processes
                at the moment.
        """
        if seconds is None:
            self._expected = None
            return
        self._expected = Expectation(activity, seconds, time.monotonic(), is_waiting)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Context manager in which the thread runs."""
        thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        thread.start()
        try:
            yield
        finally:
            self._expected = None
            self._stopped.set()

    def _watch(self) -> None:
        last = time.monotonic()
        lost = 0.0
        seen: Expectation | None = None
        while not self._stopped.wait(_TICK_SECONDS):
            now, expected = time.monotonic(), self._expected
            if expected is not seen:
                seen, lost = expected, 0.0
            if now - last > _LONGEST_TICK_SECONDS:
                lost += now - last
            last = now
            if expected is not None and now - expected.began - lost > expected.limit:
                self._report(expected)
                return
            if self._directory is not None and self._directory.is_dir():
                self._write("another rank has stopped making progress")

    def _report(self, expected: Expectation) -> None:
        where = self._where()
        message = f"no progress for {expected.limit:g} s while {expected.activity}"
        message += f" [{where}]" if where else ""
        has_written = self._write(message)
        time.sleep(SECONDS_FOR_OTHERS)
        if has_written:
            message += f"; what all threads were doing is in {self._directory}"
            message += self._silent()
        self._end(HangError(message))

    def _silent(self) -> str:
        """Returns which of the other processes have not written what they were doing."""
        assert self._directory is not None  # noqa: S101 - it has been written to
        missing = [name for name in self._names if not (self._directory / f"{name}.txt").exists()]
        if not missing:
            return ""
        return f", except for {', '.join(missing)}, which may be frozen or have another disk"

    def _write(self, message: str) -> bool:
        """Writes what all threads are doing, once; returns whether the file is there."""
        if self._directory is None or self._has_written:
            return self._has_written
        try:
            self._directory.mkdir(exist_ok=True)
            path = self._directory / f"{self._name}.txt"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with open(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
                file.write(f"{message}\n{self._details()}\n\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError:
            return False
        self._has_written = True
        return True
