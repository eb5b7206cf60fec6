"""What an arm does that takes turns with others: work for a while when told to, then rest.

An arm is a process on one core. It keeps its datasets and iterators from turn to turn. A turn
ends when the process has come to rest: what a dataset reads ahead is then paid for in the turn
that caused it, and not by the arm whose turn is next.
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
    """The arm's side of the talk with `turns.Arm`: lines on standard input and output.

    Args:
        core: The core that this process and its threads stay on from now on.
    """

    def __init__(self, core: int) -> None:
        os.sched_setaffinity(0, {core})
        # Whatever else is printed goes to standard error.
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._began = (0.0, 0.0)

    def begin(self) -> bool:
        """Waits for a turn and starts the clocks; False if there are no more."""
        wait_until_at_rest()
        self._say({})
        if not sys.stdin.readline():
            return False
        self._began = (time.perf_counter(), time.process_time())
        return True

    def end(self, units: int) -> None:
        """Waits until this process rests, and says what the turn took.

        Args:
            units: How many images or steps it did.
        """
        wall, cpu = wait_until_at_rest()
        began_wall, began_cpu = self._began
        self._say({"wall": (wall - began_wall) / units, "cpu": (cpu - began_cpu) / units})

    def serve(self, work: Callable[[], int]) -> None:
        """Does a piece of work, which returns its units, in every turn."""
        while self.begin():
            self.end(work())

    def _say(self, value: dict[str, float]) -> None:
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()


def wait_until_at_rest() -> tuple[float, float]:
    """Returns once no other thread of this process runs or wants to.

    Returns:
        Wall clock and CPU time of the process when that was first seen, in seconds.
    """
    deadline = time.perf_counter() + _MOST_SECONDS
    seen, first = 0, (0.0, 0.0)
    while seen < _POLLS_AT_REST:
        now = time.perf_counter(), time.process_time()
        if now[0] > deadline:
            raise HvdImgclsError(
                f"a benchmark's threads did not come to rest within {_MOST_SECONDS:.0f} s"
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
            continue  # It has ended.
        if text.rpartition(")")[2].split()[0] in "RD":
            return True
    return False
