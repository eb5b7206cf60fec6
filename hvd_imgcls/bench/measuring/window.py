"""The side of an arm that takes turns with others: works when told to, then rests.

An arm is a process on one core. It keeps its datasets and iterators from turn to turn. A turn
ends when the process is idle, so that the cost of prefetching is charged to the turn that causes
it and not to the next arm.

Imports only the standard library, so that an arm in another Python environment can run this file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_POLL_SECONDS = 0.002
_POLLS_AT_REST = 3
_MOST_SECONDS = 60.0


class Turns:
    """The arm's side of the protocol with `turns.Arm`: lines on standard input and output.

    Args:
        core: The core to which this process, its threads and its children are pinned.
    """

    def __init__(self, core: int) -> None:
        os.sched_setaffinity(0, {core})
        # All other output goes to standard error.
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._began = (0.0, 0.0)

    def begin(self) -> bool:
        """Waits for a turn and starts the clocks; False if there are no more."""
        wait_until_at_rest()
        self._send({})
        if not sys.stdin.readline():
            return False
        self._began = (time.perf_counter(), cpu_seconds())
        return True

    def end(self, units: int) -> None:
        """Waits until this process is idle, and reports the costs of the turn.

        Args:
            units: Number of images or steps processed.
        """
        wall, cpu = wait_until_at_rest()
        began_wall, began_cpu = self._began
        self._send({"wall": (wall - began_wall) / units, "cpu": (cpu - began_cpu) / units})

    def serve(self, work: Callable[[], int]) -> None:
        """Calls `work`, which returns its units, in every turn."""
        while self.begin():
            self.end(work())

    def _send(self, value: dict[str, float]) -> None:
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()


def wait_until_at_rest() -> tuple[float, float]:
    """Returns once no other thread of this process and its children is running or runnable.

    Returns:
        Wall-clock and CPU time of the processes when this was first observed, in seconds.

    Raises:
        TimeoutError: If that takes too long.
    """
    deadline = time.perf_counter() + _MOST_SECONDS
    seen, first = 0, (0.0, 0.0)
    while seen < _POLLS_AT_REST:
        now = time.perf_counter(), cpu_seconds()
        if now[0] > deadline:
            raise TimeoutError(
                f"a benchmark's threads did not become idle within {_MOST_SECONDS:.0f} s"
            )
        if others_run():
            seen = 0
        else:
            first = first if seen else now
            seen += 1
        time.sleep(_POLL_SECONDS)
    return first


def others_run() -> bool:
    """Whether another thread of this process or its children runs, or waits for core or disk."""
    me = str(os.getpid())  # The main thread, which asks.
    for process in (me, *_children()):
        for task in _tasks(process):
            if task.name != me and _fields(task / "stat")[:1] in (["R"], ["D"]):
                return True
    return False


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of its running children, in seconds.

    That of children is counted by the kernel in hundredths of a second.
    """
    ticks = 0
    for child in _children():
        fields = _fields(Path("/proc", child, "stat"))
        # User and system time: the 14th and 15th field of proc_pid_stat(5).
        ticks += sum(int(field) for field in fields[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _children() -> list[str]:
    """Returns the process numbers of this process's children."""
    found: list[str] = []
    for task in _tasks("self"):
        try:
            found += (task / "children").read_text(encoding="ascii").split()
        except OSError:
            continue  # The thread has ended.
    return found


def _tasks(process: str) -> list[Path]:
    """Returns the folders of a process's threads; none if it has ended."""
    try:
        return list(Path("/proc", process, "task").iterdir())
    except OSError:
        return []


def _fields(path: Path) -> list[str]:
    """Returns the fields of a `stat` file from the state on; none if it no longer exists."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
