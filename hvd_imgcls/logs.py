"""Logging: the logger `hvd_imgcls`, with the rank on every line.

The root logger is never changed: a program that uses this package as a library keeps its own
logging configuration.
"""

from __future__ import annotations

import enum
import logging
import sys
import time
from pathlib import Path

from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.files.outside import open_to_append
from hvd_imgcls.text.printable import printable_text

LOGGER_NAME = "hvd_imgcls"
RESULT = (logging.INFO + logging.WARNING) // 2
"""Level for the result of a command, which `--quiet` does not suppress."""

_OURS = "_hvd_imgcls_handler"


class Verbosity(enum.Enum):
    """How much is logged.

    Attributes:
        QUIET: The root logs its result; all ranks log warnings and errors.
        NORMAL: The root also logs its progress.
        VERBOSE: Every rank logs everything, down to DEBUG.
    """

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


def start(topology: Topology, *, verbosity: Verbosity = Verbosity.NORMAL) -> None:
    """Starts logging on this rank.

    Warnings and errors go to standard error, the rest to standard output. With several
    ranks every line begins with its rank, `[rank 3/8]`. Calling it again replaces what an
    earlier call set up.

    Args:
        topology: This rank.
        verbosity: How much it logs.
    """
    stop()
    logging.addLevelName(RESULT, "RESULT")
    output, errors = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    output.addFilter(lambda record: record.levelno < logging.WARNING)
    errors.setLevel(logging.WARNING)
    output.setLevel(_level(topology, verbosity))
    for handler in (output, errors):
        handler.setFormatter(_PrintableFormatter(f"{_prefix(topology)}%(message)s"))
        _add(handler)


def add_file(path: Path, topology: Topology, *, verbosity: Verbosity = Verbosity.NORMAL) -> None:
    """Also logs to a file, with time and rank.

    With `QUIET`, the file still receives what `NORMAL` would log.

    Args:
        path: The file; appended to if it exists.
        topology: This rank.
        verbosity: How much it logs.
    """
    open_to_append(path).close()  # Not a link to another file, nor a pipe.
    handler = _LogFile(path, encoding="utf-8")
    handler.setLevel(logging.DEBUG if verbosity is Verbosity.VERBOSE else logging.INFO)
    form = f"%(asctime)s %(levelname)s {_prefix(topology)}%(message)s"
    handler.setFormatter(_PrintableFormatter(form))
    _add(handler)


def stop() -> None:
    """Undoes `start` and `add_file`."""
    logger = logging.getLogger(LOGGER_NAME)
    for handler in [one for one in logger.handlers if hasattr(one, _OURS)]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


class _LogFile(logging.FileHandler):
    """A log file that says once that it cannot be written, as on a full disk."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of logging
        """Says why, instead of printing a traceback for every line."""
        error = sys.exc_info()[1]
        if not self._has_failed:
            self._has_failed = True
            why = error.strerror if isinstance(error, OSError) else error
            text = f"{self.baseFilename}: {why}; the log is incomplete"
            sys.stderr.write(f"{printable_text(text)}\n")


class _PrintableFormatter(logging.Formatter):
    """Escapes control characters, which names of files may contain."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_text(super().format(record))


def is_started() -> bool:
    """Returns whether `start` has been called, so that messages are shown."""
    return any(hasattr(handler, _OURS) for handler in logging.getLogger(LOGGER_NAME).handlers)


def write_to_files(level: int, message: str) -> None:
    """Writes a message to the log files only: the terminal shows it elsewhere.

    Args:
        level: Level, as in `logging`.
        message: The message.
    """
    logger = logging.getLogger(LOGGER_NAME)
    record = logger.makeRecord(logger.name, level, "", 0, "%s", (message,), None)
    for handler in logger.handlers:
        if hasattr(handler, _OURS) and isinstance(handler, logging.FileHandler):
            handler.handle(record)


class Pace:
    """Limits how often progress is logged.

    Args:
        seconds: Minimum time between two lines.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Returns whether `seconds` have passed since this last returned True."""
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
    # Handlers filter by level. Without this the root logger's WARNING would hide INFO,
    # and a program with its own logging would print every line twice.
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
