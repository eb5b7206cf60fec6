"""Lets a process that a rank has forked end by itself.

A forked child has Horovod's exit handlers and static objects, but not its thread, so that an
ordinary exit waits for that thread forever. `multiprocessing` leaves with `os._exit`, which runs
neither; here a raw `os.fork` does the same at the end of its own exit handlers.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

_exit_code = 0


def let_children_exit(shutdown: Callable[[], None]) -> None:
    """Prepares for forks of this process, which has joined the ranks.

    Args:
        shutdown: The exit handler that waits for a thread.
    """
    rank = os.getpid()

    def end() -> None:
        if os.getpid() == rank:
            return
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_exit_code)

    atexit.register(end)
    os.register_at_fork(after_in_child=lambda: _enter_child(shutdown))


def _enter_child(shutdown: Callable[[], None]) -> None:
    """Removes the handler, and remembers the exit code, which exit handlers cannot see."""
    atexit.unregister(shutdown)
    plain_exit, plain_hook = sys.exit, sys.excepthook

    def exit_with(status: Any = None, /) -> None:
        _remember(status)
        if status is not None and not isinstance(status, int):
            sys.stderr.write(f"{status}\n")  # as Python does for a message
            status = 1
        plain_exit(status)

    def report(*arguments: Any) -> None:
        _remember(1)
        plain_hook(*arguments)

    sys.exit, sys.excepthook = exit_with, report  # type: ignore[assignment]


def _remember(status: Any) -> None:
    global _exit_code  # noqa: PLW0603 - a process has one exit code
    _exit_code = 0 if status is None else status if isinstance(status, int) else 1
