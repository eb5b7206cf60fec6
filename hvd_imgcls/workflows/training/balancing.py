"""`data.allocation: dynamic`: moves examples from slower to faster ranks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.config.data.allocation import DynamicAllocation
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.balancing import balanced
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress import Board

logger = logging.getLogger(__name__)

# Steps that are much longer than the others do not count: they compile, or write a checkpoint.
_LEAST_STEPS, _MOST_TIMES_MEDIAN = 3, 10


def note_batch_statistics(model: keras.Model) -> None:
    """Notes that the batch statistics of a rank are those of more or fewer images than before."""
    local = [
        layer.name
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    if local:
        logger.info(
            "note: with data.allocation dynamic, batch normalisation (%s) computes its statistics "
            "from more images on fast ranks than on slow ones; with "
            "synchronization.batch_normalization synchronized, always from those of all ranks",
            local[0] if len(local) == 1 else f"{len(local)} layers",
        )


def typical_seconds(busy: Sequence[float]) -> float:
    """Returns the mean of the times of steps without those that are much longer; 0 for too few.

    Not the median: other programs take a core for longer than a short step, and so slow down some
    steps much, and others not at all.

    >>> typical_seconds([1.0, 3.0, 1.0, 3.0, 500.0])
    2.0
    """
    if len(busy) < _LEAST_STEPS:
        return 0.0
    times = np.asarray(busy)
    return float(times[times <= _MOST_TIMES_MEDIAN * np.median(times)].mean())


class Balancing(keras.callbacks.Callback):
    """Divides the global batches anew, by the time that the ranks have needed.

    Collective: every rank must have this callback in the same position. The ranks exchange two
    numbers every few seconds.

    Args:
        section: The configuration.
        allocation: The parts of the ranks; changed.
        position: Position of the phase.
        collectives: Communication between the ranks.
        unit: Examples that are moved together.
        exchanging: Returns the context in which it may wait for other ranks.
        board: TensorBoard, on the root if enabled.
    """

    def __init__(
        self,
        section: DynamicAllocation,
        allocation: Allocation,
        position: Position,
        collectives: Collectives,
        *,
        unit: int,
        exchanging: Callable[[], AbstractContextManager[None]],
        board: Board | None,
    ) -> None:
        super().__init__()
        self._section = section
        self._allocation = allocation
        self._position = position
        self._collectives = collectives
        self._unit = unit
        self._exchanging = exchanging
        self._board = board
        self._polling = Polling(collectives, "allocation.poll", seconds=section.window_seconds)
        self._last = time.monotonic()

    def state(self) -> dict[str, Any]:
        """Returns nothing: the allocation has a state of its own."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores nothing."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the steps, from their first trace on."""
        synchronizer = synchronizer_of(self.model.optimizer)
        if synchronizer is None:
            raise TypeError(f"{self.model.optimizer} is not distributed")
        self._clock = synchronizer.reduction.measured()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Divides later batches anew, if it is time to. Collective."""
        if self._position.passes:
            return
        with self._exchanging():
            asked = self._polling.tick(self._wish)
            if asked is not None and asked[0]:
                self._last = time.monotonic()
                self._exchange()

    def _wish(self) -> tuple[int]:
        # The number of steps in between is an estimate.
        elapsed = time.monotonic() - self._last
        is_due = elapsed >= self._section.window_seconds / 2
        return (int(self._collectives.topology.is_root and is_due),)

    def _exchange(self) -> None:
        """Exchanges the times of the ranks and divides later batches anew. Collective."""
        # Not those before the last change.
        num_equal = self._allocation.num_equal(self._position.step - 1)
        busy = self._clock.take_busy(_LEAST_STEPS)[-num_equal:]
        # Batches wait to be taken until all ranks know where the change starts.
        with self._allocation.held() as next_step:
            own = tf.constant([[typical_seconds(busy), float(next_step)]], tf.float64)
            rows = np.asarray(self._collectives.allgather(own, name="allocation.times"))
            self._decide(rows[:, 0].tolist(), int(rows[:, 1].max()))

    def _decide(self, seconds: Sequence[float], next_step: int) -> None:
        """Changes the parts if that makes the steps shorter; the same on all ranks."""
        step = self._position.step
        before = self._allocation.parts(step - 1)
        is_pending = self._allocation.parts(next_step) != before
        if min(seconds) <= 0 or is_pending:
            return
        parts = balanced(
            before,
            seconds,
            unit=self._unit,
            max_ratio=self._section.max_ratio,
            min_gain=self._section.min_gain,
        )
        if parts == before:
            return
        self._allocation.change(next_step, parts)
        if self._collectives.topology.is_root:
            self._report(next_step, parts, seconds)

    def _report(self, step: int, parts: Sequence[int], seconds: Sequence[float]) -> None:
        logger.info(
            "from step %d on, the ranks have %s examples; they needed %s ms for their parts",
            step + 1,
            ", ".join(map(str, parts)),
            ", ".join(f"{1000 * one:.0f}" for one in seconds),
        )
        if self._board is not None:
            curves = {f"rank {rank}": float(part) for rank, part in enumerate(parts)}
            self._board.write_numbers("examples", curves, step)
