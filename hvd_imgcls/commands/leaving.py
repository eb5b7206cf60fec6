"""Ends a process that has failed, whatever still waits in its threads."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from typing import NoReturn

SECONDS_TO_CLEAN_UP = 5.0


def leave(exit_code: int) -> NoReturn:
    """Exits the process.

    After an error, Python's own exit may last forever: it waits for the threads of TensorFlow's
    datasets, of which one may wait for a pipe or for an image that takes minutes. What was
    registered to be done at the exit is therefore done with a time limit, and then the process
    ends.

    Args:
        exit_code: The exit code.
    """
    if exit_code == 0:
        sys.exit(0)
    timer = threading.Timer(SECONDS_TO_CLEAN_UP, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    _flush()
    atexit._run_exitfuncs()
    _flush()
    os._exit(exit_code)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Closed, or its reader is gone: there is nobody to tell.
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
