"""Progress lines of a prediction."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 10


class ProgressLines:
    """Logs every ten seconds how many images are done. Root only.

    Args:
        num_images: Total number of images.
        piece_size: Images per piece.
    """

    def __init__(self, num_images: int, piece_size: int) -> None:
        self._num_images = num_images
        self._piece_size = piece_size
        self._done = self._done_before = 0
        self._begin = self._last = time.monotonic()

    def start(self, num_pieces: int) -> None:
        """Starts; `num_pieces` pieces were finished before."""
        self._done = self._done_before = min(self._num_images, num_pieces * self._piece_size)
        self._begin = self._last = time.monotonic()

    def advance(self, num_images: int) -> None:
        """Counts finished images, and logs a line if one is due."""
        self._done += num_images
        now = time.monotonic()
        if now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        rate = (self._done - self._done_before) / (now - self._begin)
        left = (self._num_images - self._done) / rate
        logger.info(
            "%s of %s images  %s images/s  %d min %d s left",
            f"{self._done:,}",
            f"{self._num_images:,}",
            f"{rate:,.0f}",
            *divmod(round(left), 60),
        )
