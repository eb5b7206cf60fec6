"""A small file that shows the moment, replaced in a thread so that nobody waits for the disk."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from hvd_imgcls.files.atomic import replacing

logger = logging.getLogger(__name__)


class BackgroundFile:
    """A text file that is replaced atomically in a thread. Of several texts, the newest is written.

    A failure is logged once and is no error: it is tried again with the next text.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._text: str | None = None
        self._is_closed = False
        self._has_failed = False
        # A daemon: a process that ends does not wait for a disk that does not answer.
        self._thread = threading.Thread(target=self._run, daemon=True, name=path.name)
        self._thread.start()

    def write(self, text: str) -> None:
        """Has the file replaced soon. Does not wait."""
        with self._changed:
            self._text = text
            self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Writes the last text.

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
                while self._text is None and not self._is_closed:
                    self._changed.wait()
                text, self._text = self._text, None
            if text is None:
                return
            try:
                with replacing(self._path, is_synced=False) as partial:
                    partial.write_text(text, encoding="utf-8")
            except (OSError, UnicodeEncodeError) as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.warning("%s cannot be written: %s", self._path, error)
