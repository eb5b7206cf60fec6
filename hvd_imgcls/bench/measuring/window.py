"""The side of an arm that takes turns with others: works when told to, then rests.

An arm is a process on one core. It keeps its datasets and iterators from turn to turn. A turn
ends when the process is idle, so that the cost of prefetching is charged to the turn that causes
it and not to the next arm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from hvd_imgcls.errors import HvdImgclsError

_POLL_SECONDS = 0.002
_POLLS_AT_REST = 3
_MOST_SECONDS = 60.0


class Turns:
    """The arm's side of the protocol with `turns.Arm`: lines on standard input and output.

    Args:
        core: The core to which this process and its threads are pinned.
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
        self._began = (time.perf_counter(), time.process_time())
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
    """Returns once no other thread of this process is running or runnable.

    Returns:
        Wall-clock and CPU time of the process when this was first observed, in seconds.
    """
    deadline = time.perf_counter() + _MOST_SECONDS
    seen, first = 0, (0.0, 0.0)
    while seen < _POLLS_AT_REST:
        now = time.perf_counter(), time.process_time()
        if now[0] > deadline:
            raise HvdImgclsError(
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
    """Whether another thread of this process runs, waits for the core, or for the disk."""
    me = str(os.getpid())  # The main thread, which asks.
    for task in Path("/proc/self/task").iterdir():
        if task.name == me:
            continue
        try:
            text = (task / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue  # The thread has ended.
        if text.rpartition(")")[2].split()[0] in "RD":
            return True
    return False
