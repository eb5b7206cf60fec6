"""What a run says: the logger `hvd_imgcls`, with the rank on every line.

Nothing here touches the root logger: the logging of a program that uses this package as a
library stays as it is.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from hvd_imgcls.topology import Topology

LOGGER_NAME = "hvd_imgcls"
_OURS = "_hvd_imgcls_handler"


def start(topology: Topology, *, verbose: bool = False) -> None:
    """Lets this rank speak: the root from level INFO on, the others from WARNING on.

    Warnings and errors go to standard error, the rest to standard output. With several
    ranks every line begins with its rank, `[rank 3/8]`. Calling it again replaces what an
    earlier call set up.

    Args:
        topology: The rank that speaks.
        verbose: Whether every rank says everything, down to DEBUG.
    """
    stop()
    level = logging.INFO if topology.is_root else logging.WARNING
    if verbose:
        level = logging.DEBUG
    prefix = f"[rank {topology.rank}/{topology.size}] " if topology.size > 1 else ""
    output, errors = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    output.addFilter(lambda record: record.levelno < logging.WARNING)
    errors.setLevel(logging.WARNING)
    output.setLevel(level)
    for handler in (output, errors):
        handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
        _add(handler)


def add_file(path: Path) -> None:
    """Writes everything that this rank says to a file as well, with the time."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _add(handler)


def stop() -> None:
    """Takes back what `start` and `add_file` set up."""
    logger = logging.getLogger(LOGGER_NAME)
    for handler in [one for one in logger.handlers if hasattr(one, _OURS)]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


class Pace:
    """Says when it is time for another line of progress.

    Args:
        seconds: Between two lines.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Returns whether the seconds have passed since it was last due."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def _add(handler: logging.Handler) -> None:
    setattr(handler, _OURS, True)
    logger = logging.getLogger(LOGGER_NAME)
    logger.addHandler(handler)
    # Handlers choose by level. Without this the root logger's WARNING would hide INFO,
    # and a program with logging of its own would print every line twice.
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
