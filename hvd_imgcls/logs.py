"""What a run says: the logger `hvd_imgcls`, with the rank on every line.

Nothing here touches the root logger: the logging of a program that uses this package as a
library stays as it is.
"""

from __future__ import annotations

import enum
import logging
import sys
import time
from pathlib import Path

from hvd_imgcls.environment.topology import Topology

LOGGER_NAME = "hvd_imgcls"
RESULT = (logging.INFO + logging.WARNING) // 2
"""Level of what a command was called for, which it says even if it is to be quiet."""

_OURS = "_hvd_imgcls_handler"


class Verbosity(enum.Enum):
    """How much is said.

    Attributes:
        QUIET: The root says its result; all ranks say warnings and errors.
        NORMAL: The root says what it does, too.
        VERBOSE: Every rank says everything, down to DEBUG.
    """

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


def start(topology: Topology, *, verbosity: Verbosity = Verbosity.NORMAL) -> None:
    """Lets this rank speak.

    Warnings and errors go to standard error, the rest to standard output. With several
    ranks every line begins with its rank, `[rank 3/8]`. Calling it again replaces what an
    earlier call set up.

    Args:
        topology: The rank that speaks.
        verbosity: How much it says.
    """
    stop()
    logging.addLevelName(RESULT, "RESULT")
    output, errors = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    output.addFilter(lambda record: record.levelno < logging.WARNING)
    errors.setLevel(logging.WARNING)
    output.setLevel(_level(topology, verbosity))
    for handler in (output, errors):
        handler.setFormatter(logging.Formatter(f"{_prefix(topology)}%(message)s"))
        _add(handler)


def add_file(path: Path, topology: Topology, *, verbosity: Verbosity = Verbosity.NORMAL) -> None:
    """Writes what this rank says to a file as well, with the time and the rank.

    A quiet rank writes there what it would have said otherwise.

    Args:
        path: The file; added to if it is there.
        topology: The rank that speaks.
        verbosity: How much it says.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setLevel(logging.DEBUG if verbosity is Verbosity.VERBOSE else logging.INFO)
    form = f"%(asctime)s %(levelname)s {_prefix(topology)}%(message)s"
    handler.setFormatter(logging.Formatter(form))
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


def _level(topology: Topology, verbosity: Verbosity) -> int:
    if verbosity is Verbosity.VERBOSE:
        return logging.DEBUG
    if not topology.is_root:
        return logging.WARNING
    return RESULT if verbosity is Verbosity.QUIET else logging.INFO


def _prefix(topology: Topology) -> str:
    return f"[rank {topology.rank}/{topology.size}] " if topology.size > 1 else ""


def _add(handler: logging.Handler) -> None:
    setattr(handler, _OURS, True)
    logger = logging.getLogger(LOGGER_NAME)
    logger.addHandler(handler)
    # Handlers choose by level. Without this the root logger's WARNING would hide INFO,
    # and a program with logging of its own would print every line twice.
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
