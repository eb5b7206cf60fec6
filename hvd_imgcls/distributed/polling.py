"""Asks all ranks regularly, at the same point of their work, for a small number."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed.collectives import Collectives, ReduceOp

_MAX_INTERVAL = 1000
# An interval may be wrong by the first steps, which are slow, or by a few fast ones.
_MAX_GROWTH = 4


class Polling:
    """Finds the maximum of a number over all ranks, about once per second.

    The ranks ask each other after the same number of ticks, which follows the speed of the root.
    With one rank nothing is sent, and every tick asks.

    Args:
        collectives: Communication between the ranks.
        name: Name of the operation.
        seconds: Time between two questions.
        clock: Returns seconds since an arbitrary moment.
    """

    def __init__(
        self,
        collectives: Collectives,
        name: str,
        *,
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collectives = collectives
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._interval = 1
        self._ticks = 0
        self._last = clock()

    def restart(self) -> None:
        """Asks at the next tick again, because another kind of work begins, on all ranks."""
        self._interval, self._ticks = 1, 0
        self._last = self._clock()

    def tick(self, values: Callable[[], tuple[int, ...]]) -> tuple[int, ...] | None:
        """Counts one unit of work; returns the maxima over the ranks if it is time to ask.

        Collective: every rank must call this.

        Args:
            values: Returns this rank's numbers, non-negative.
        """
        self._ticks += 1
        if self._collectives.topology.size > 1 and self._ticks < self._interval:
            return None
        return self.ask(values)

    def ask(self, values: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Returns the maxima over the ranks now. Collective: every rank must call this."""
        own = values()
        if self._collectives.topology.size == 1:
            self._ticks = 0
            return own
        proposed = self._next_interval() if self._collectives.topology.is_root else 0
        reduced = self._collectives.allreduce(
            tf.convert_to_tensor(np.array([*own, proposed], np.int64)),
            op=ReduceOp.MAX,
            name=self._name,
        )
        *maxima, self._interval = (int(value) for value in np.asarray(reduced))
        self._ticks = 0
        self._last = self._clock()
        return tuple(maxima)

    def _next_interval(self) -> int:
        """Returns the number of ticks that take the root about as long as it should."""
        elapsed = max(self._clock() - self._last, 1e-9)
        ticks = max(self._ticks, 1) * self._seconds / elapsed
        return int(max(1, min(ticks, self._interval * _MAX_GROWTH, _MAX_INTERVAL)))
