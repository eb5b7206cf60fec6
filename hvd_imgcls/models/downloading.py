"""Downloads of weights: in a thread, once per host, with a file lock."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from hvd_imgcls.errors import CheckpointError, first_line
from hvd_imgcls.logs import Pace

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# What is there already is found within this time, and then nothing is said about a download.
_FIRST_SECONDS = 0.2
# Keras's loader has no time limit.
SILENCE_SECONDS = 120.0
"""Seconds without a byte after which a download is given up."""


@dataclass(slots=True)
class Progress:
    """How far a download is.

    Attributes:
        phase: `waiting` for the lock that another process holds, `downloading`, or at its end.
        num_bytes: Bytes so far; None if unknown.
        total_bytes: Size; None if unknown.
        error: The message, if it failed.
    """

    phase: Literal["waiting", "downloading", "done", "failed"] = "waiting"
    num_bytes: int | None = None
    total_bytes: int | None = None
    error: str = ""


class Download(ABC):
    """A download in a thread of its own, which ends with the process.

    Not collective. Processes coordinate through a file lock, which is released if one is killed.

    Attributes:
        name: What is downloaded, for messages.
        progress: How far it is; updated by the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.progress = Progress()
        self._last_change = time.monotonic()

    @property
    @abstractmethod
    def lock_path(self) -> Path:
        """The lock file, the same for all processes that download the same."""

    @abstractmethod
    def is_there(self) -> bool:
        """Returns whether nothing has to be downloaded."""

    @abstractmethod
    def download(self) -> None:
        """Downloads; called in the thread, with the lock held. May raise anything."""

    @abstractmethod
    def failure(self, reason: str) -> str:
        """Returns the message of a failed download: what to place where."""

    def start(self) -> None:
        """Starts the thread, unless nothing has to be downloaded."""
        if self.is_there():
            self.progress.phase = "done"
            return
        thread = threading.Thread(target=self._run, name="download", daemon=True)
        thread.start()
        thread.join(_FIRST_SECONDS)

    def check(self) -> Progress:
        """Returns how far it is. Fails a download that has been silent for too long."""
        is_measured = self.progress.num_bytes is not None
        silence = time.monotonic() - self._last_change
        if self.progress.phase == "downloading" and is_measured and silence > SILENCE_SECONDS:
            self._fail(f"no data for {SILENCE_SECONDS:.0f} s")
        return self.progress

    def report(self, num_bytes: int, total_bytes: int | None) -> None:
        """Records progress; a download that has called this once must go on calling it."""
        self.progress.num_bytes, self.progress.total_bytes = num_bytes, total_bytes
        self._last_change = time.monotonic()

    def _run(self) -> None:
        try:
            # Keras's setting of this thread: nothing is printed.
            keras.config.disable_interactive_logging()
            self.lock_path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.lock_path):
                if not self.is_there():
                    self.progress.phase = "downloading"
                    self.download()
        except Exception as error:
            # Loaders raise bare exceptions, and a thread has nobody to raise to.
            self._fail(first_line(error))
        else:
            self.progress.phase = "done"

    def _fail(self, reason: str) -> None:
        self.progress.error = self.failure(reason)
        self.progress.phase = "failed"


def finish(download: Download) -> None:
    """Starts a download and waits for its end, with progress in the log.

    Raises:
        CheckpointError: If it fails; the message says what to place where.
    """
    download.start()
    pace = Pace()
    while True:
        progress = download.check()
        if progress.phase == "done":
            return
        if progress.phase == "failed":
            raise CheckpointError(progress.error)
        if pace.is_due():
            logger.info("%s: %s", download.name, describe_progress(progress))
        time.sleep(_POLL_SECONDS)


def describe_progress(progress: Progress) -> str:
    """Returns how far a download is, as a phrase.

    >>> describe_progress(Progress("downloading", 3_000_000, 9_400_000))
    'downloading, 3.0 of 9.4 MB'
    """
    if progress.phase != "downloading":
        return "waiting for another process that downloads it"
    if progress.num_bytes is None:
        return "downloading"
    of_total = f" of {progress.total_bytes / 1e6:.1f}" if progress.total_bytes else ""
    return f"downloading, {progress.num_bytes / 1e6:.1f}{of_total} MB"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file lock, waiting for it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
