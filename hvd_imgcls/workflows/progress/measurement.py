"""Measures an epoch: images, time, and waiting."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.keras.synchronization.clocks import BatchClock, ReductionClock
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress.nodes.exchange import Interval
from hvd_imgcls.workflows.progress.record import images_per_second
from hvd_imgcls.workflows.progress.waiting import Floats, Times, gather_times


class Measurement:
    """Measures an epoch, without the first batch of a phase, which traces and compiles the step.

    Args:
        plan: The plan of the phase.
        position: Its position.
        clock: Returns seconds since an arbitrary moment.
        batches: Measures the waiting for batches.

    Attributes:
        num_traces: How often the step was traced.
        last_batch: Time when the last batch ended.
    """

    def __init__(
        self, plan: Plan, position: Position, clock: Callable[[], float], batches: BatchClock
    ) -> None:
        self.num_traces = 0
        self.last_batch = 0.0
        self._plan = plan
        self._position = position
        self._clock = clock
        self._batches = batches
        self._reductions: ReductionClock | None = None
        self._is_tracing = False
        # Completed batches when the measurement started.
        self._began_at = 0
        self._began = 0.0
        # What belongs to earlier intervals.
        self._interval_began = self._data_seconds_before = 0.0
        self._num_reductions_before = 0

    def begin_epoch(self, model: keras.Model) -> bool:
        """Starts, inside `fit`; returns whether the next batch traces the step."""
        # Not only when training starts: a recompiled model has a new step function.
        self._is_tracing = self._batches.start(model) or not self.num_traces
        synchronizer = synchronizer_of(model.optimizer)
        if self._plan.size > 1 and synchronizer is not None:
            self._reductions = synchronizer.reduction.measured()
        self._start()
        return self._is_tracing

    def end_batch(self) -> bool:
        """Counts a batch; returns whether it has traced the step and is left out."""
        self.last_batch = self._clock()
        has_traced = self._is_tracing
        if has_traced:
            # Its time is not representative.
            self._is_tracing = False
            self.num_traces += 1
            self._start()
        return has_traced

    def stop(self, model: keras.Model) -> None:
        """Ends, after `fit`."""
        self._batches.stop(model)

    @property
    def num_images(self) -> int:
        """Images of all ranks, including padding."""
        return self._num_measured * self._plan.per_rank_batch_size * self._plan.size

    @property
    def seconds(self) -> float:
        """Time up to the last batch; 0 without one."""
        return self.last_batch - self._began if self._num_measured else 0.0

    @property
    def images_per_second(self) -> float | None:
        """Throughput of all ranks; None if nothing was measured."""
        return images_per_second(self.num_images, self.seconds)

    def own_waiting(self) -> dict[str, float | None]:
        """Returns the fractions of time that this rank has waited, by reason."""
        waiting = {"data": self._own_share(self._batches.seconds)}
        if self._reductions is not None:
            waiting["allreduce"] = self._own_share(float(self._reductions.peek().sum()))
        return waiting

    def take_interval(self) -> Interval:
        """Returns what was measured since the last call, or since the start."""
        reductions = self._peek()
        seconds = max(0.0, self.last_batch - self._interval_began) if self._num_measured else 0.0
        interval = Interval(
            seconds=seconds,
            data_seconds=self._batches.seconds - self._data_seconds_before if seconds else 0.0,
            reductions=reductions[self._num_reductions_before :],
        )
        self._interval_began = self._clock()
        self._data_seconds_before = self._batches.seconds
        self._num_reductions_before = len(reductions)
        return interval

    def gather_times(self, collectives: Collectives) -> Times:
        """Returns the measurements of all ranks, and ends. Collective."""
        reductions = np.zeros(0) if self._reductions is None else self._reductions.take()
        self._num_reductions_before = 0
        return gather_times(
            collectives,
            seconds=self.seconds,
            data_seconds=self._batches.seconds if self._num_measured else 0.0,
            reductions=reductions,
        )

    @property
    def _num_measured(self) -> int:
        return self._position.num_batches - self._began_at

    def _start(self) -> None:
        self._began_at = self._position.num_batches
        self._batches.reset()
        if self._reductions is not None:
            self._reductions.take()
        self._began = self._interval_began = self._clock()
        self._data_seconds_before = 0.0
        self._num_reductions_before = 0

    def _peek(self) -> Floats:
        return np.zeros(0) if self._reductions is None else self._reductions.peek()

    def _own_share(self, seconds: float) -> float | None:
        return min(1.0, seconds / self.seconds) if self.seconds > 0 else None
