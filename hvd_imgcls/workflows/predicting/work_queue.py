"""Work in small pieces, taken by whoever is free: a slow rank does not hold up the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol

from hvd_imgcls.errors import PeerFailedError

Rows = list[Any]


class Worker(Protocol):
    """What a rank sees of the pieces."""

    def take(self) -> int | None:
        """Returns a piece that nobody has taken, None if there is none."""

    def finish(self, piece: int, rows: Rows) -> None:
        """Hands in what came of a piece, JSON."""


class Pieces:
    """The root's list of pieces. All threads may call it.

    Args:
        num_pieces: They are numbered from 0.
        finished: Those that need no work any more.
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
        """Returns the next piece for a rank, None if there is none."""
        with self._changed:
            if not self._waiting:
                return None
            piece = self._waiting.popleft()
            self._taken[piece] = rank
            return piece

    def finish(self, rank: int, piece: int, rows: Rows) -> None:
        """Keeps what came of a piece."""
        with self._changed:
            self._keep(piece, rank, rows)
            del self._taken[piece]
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Makes whoever waits raise an error."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def lose(self, rank: int) -> None:
        """Notes that a rank is gone; it fails those who wait if it had taken something."""
        with self._changed:
            lost = [piece for piece, of in self._taken.items() if of == rank]
        if lost:
            self.fail(PeerFailedError(f"rank {rank} ended while it worked on piece {lost[0]}"))

    def wait(self) -> None:
        """Returns when all pieces are finished.

        Raises:
            PeerFailedError: If a rank ended that had taken one.
        """
        with self._changed:
            while (self._waiting or self._taken) and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure


class RootWorker:
    """The root's own way to the pieces.

    Args:
        pieces: All of them.
        rank: The root.
    """

    def __init__(self, pieces: Pieces, rank: int = 0) -> None:
        self._pieces = pieces
        self._rank = rank

    def take(self) -> int | None:
        """See `Worker`."""
        return self._pieces.take(self._rank)

    def finish(self, piece: int, rows: Rows) -> None:
        """See `Worker`."""
        self._pieces.finish(self._rank, piece, rows)
