"""Small files that show the moment, replaced in a thread so that nobody waits for the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from hvd_imgcls.files.atomic import replacing

logger = logging.getLogger(__name__)

Make = Callable[[], Mapping[Path, str]]


class BackgroundFiles:
    """Text files that are made and atomically replaced in a thread. The newest texts are written.

    A failure is logged once and is no error: it is tried again with the next texts.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._make: Make | None = None
        self._is_closed = False
        self._failed: set[Path | None] = set()
        # A daemon: a process that ends does not wait for a disk that does not answer.
        self._thread = threading.Thread(target=self._run, daemon=True, name="background files")
        self._thread.start()

    def write(self, make: Make) -> None:
        """Has the files replaced soon. Does not wait.

        Args:
            make: Called in the thread, unless there is something newer by then. Returns the texts
                by file.
        """
        with self._changed:
            self._make = make
            self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Writes the last texts.

        Args:
            seconds: How long to wait for it at most.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._make is None and not self._is_closed:
                    self._changed.wait()
                make, self._make = self._make, None
            if make is None:
                return
            try:
                texts = make()
            except Exception as error:
                self._report(None, error)
                continue
            for path, text in texts.items():
                try:
                    with replacing(path, is_synced=False) as partial:
                        partial.write_text(text, encoding="utf-8")
                except (OSError, UnicodeEncodeError) as error:
                    self._report(path, error)

    def _report(self, path: Path | None, error: Exception) -> None:
        if path not in self._failed:
            self._failed.add(path)
            what = "progress" if path is None else path
            logger.warning("%s cannot be written: %s", what, error)
