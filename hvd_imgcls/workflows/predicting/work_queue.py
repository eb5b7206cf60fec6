"""Queue of small pieces of work, taken by any idle rank: slow ranks do not delay the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol

from hvd_imgcls.errors import PeerFailedError

Rows = list[Any]


class Worker(Protocol):
    """A rank's access to the queue."""

    def take(self) -> int | None:
        """Takes a piece, or returns None if there is none left."""

    def finish(self, piece: int, rows: Rows) -> None:
        """Submits the result of a piece, JSON."""


class WorkQueue:
    """The queue on the root. Thread-safe.

    Args:
        num_pieces: Number of pieces, numbered from 0.
        finished: Pieces that are done.
        keep: Called with piece, rank and rows when a piece is finished, one call at a time.
    """

    def __init__(
        self, num_pieces: int, finished: Collection[int], keep: Callable[[int, int, Rows], None]
    ) -> None:
        self._waiting = deque(piece for piece in range(num_pieces) if piece not in finished)
        self._taken: dict[int, int] = {}
        self._keep = keep
        self._failure: Exception | None = None
        self._changed = threading.Condition()

    def take(self, rank: int) -> int | None:
        """Returns the next piece for a rank, or None if there is none."""
        with self._changed:
            if not self._waiting:
                return None
            piece = self._waiting.popleft()
            self._taken[piece] = rank
            return piece

    def finish(self, rank: int, piece: int, rows: Rows) -> None:
        """Records the result of a piece."""
        with self._changed:
            self._keep(piece, rank, rows)
            del self._taken[piece]
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Makes all waiting threads raise an error."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def lose(self, rank: int) -> None:
        """Handles a rank that is gone: if it had taken a piece, waiting threads raise an error."""
        with self._changed:
            lost = [piece for piece, of in self._taken.items() if of == rank]
        if lost:
            self.fail(PeerFailedError(f"rank {rank} ended while it worked on piece {lost[0]}"))

    def wait(self) -> None:
        """Waits until all pieces are finished.

        Raises:
            PeerFailedError: If a rank exited before it finished its piece.
        """
        with self._changed:
            while (self._waiting or self._taken) and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure


class RootWorker:
    """The root's own access to the queue.

    Args:
        pieces: The queue.
        rank: The root.
    """

    def __init__(self, pieces: WorkQueue, rank: int = 0) -> None:
        self._pieces = pieces
        self._rank = rank

    def take(self) -> int | None:
        """See `Worker`."""
        return self._pieces.take(self._rank)

    def finish(self, piece: int, rows: Rows) -> None:
        """See `Worker`."""
        self._pieces.finish(self._rank, piece, rows)
