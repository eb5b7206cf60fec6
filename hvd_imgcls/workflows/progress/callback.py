"""Reports the progress of training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.files.json_files import JsonLines
from hvd_imgcls.keras.synchronization.clocks import BatchClock, StepObserver
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress.communication import communication_of
from hvd_imgcls.workflows.progress.entries import as_json
from hvd_imgcls.workflows.progress.lines import TrainingStatus, progress_line, rounded
from hvd_imgcls.workflows.progress.measurement import Measurement
from hvd_imgcls.workflows.progress.nodes import NodeMonitor
from hvd_imgcls.workflows.progress.record import EpochRecord, Record
from hvd_imgcls.workflows.progress.remaining import RemainingTime
from hvd_imgcls.workflows.progress.summary import peak_memory_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressOutput:
    """Outputs of training in addition to the log.

    Attributes:
        metrics_path: File with one JSON line per epoch, or None.
        on_first_batch: Called with the first batch, before the first step.
        observer: Is told what this rank does in a step; None for nobody.
        name: Prefix of the names of the curves.
        monitored: Names of metrics that callbacks monitor, shown at the end of every epoch.
        num_traces: How often the step is traced and compiled.
        later_images: Images that are read and classified after the last step.
        monitor: Monitors hosts and ranks, on every rank; or None.
        exchanging: Returns the context in which it may wait for other ranks.
        allocation: How the examples are divided over ranks; None if equally.
    """

    metrics_path: Path | None = None
    on_first_batch: Callable[[Any], None] | None = None
    observer: StepObserver | None = None
    name: str = ""
    monitored: tuple[str, ...] = ()
    num_traces: int = 1
    later_images: int = 0
    monitor: NodeMonitor | None = None
    exchanging: Callable[[], AbstractContextManager[None]] = nullcontext
    allocation: Allocation | None = None


class Progress(keras.callbacks.Callback):
    """Reports the progress of a phase, and records every epoch.

    Writes a log line every few seconds and at the end of every epoch, one line of JSON per epoch,
    and the curves for TensorBoard. Only the root logs progress. It must come after all callbacks
    that change an epoch's `logs`, which it writes.

    Collective: every rank must have this callback in the same position. The ranks exchange
    their times at the end of every epoch.

    Args:
        plan: The plan of the run.
        position: Position of the phase.
        record: Results of the run so far; updated.
        collectives: Communication between the ranks.
        output: Outputs in addition to the log.
        interval_seconds: Minimum time between two lines.
    """

    def __init__(
        self,
        plan: Plan,
        position: Position,
        record: Record,
        collectives: Collectives,
        *,
        output: ProgressOutput,
        interval_seconds: float = 3.0,
    ) -> None:
        super().__init__()
        self._plan = plan
        self._position = position
        self._record = record
        self._collectives = collectives
        path = output.metrics_path
        self._lines = None if path is None else JsonLines(path)
        self._name = output.name
        self._monitored = output.monitored
        self._interval_seconds = interval_seconds
        self._monitor = output.monitor
        self._exchanging = output.exchanging
        self._allocation = output.allocation
        self._measurement = Measurement(
            plan,
            position,
            record.clock,
            BatchClock(output.on_first_batch, output.observer),
        )
        self._epoch = self._num_updates = 0
        self._remaining = RemainingTime(
            plan.num_steps * plan.gradient_accumulation_steps,
            output.num_traces,
            output.later_images,
        )
        self._num_skipped_updates = 0
        self._began = self._last_line = 0.0
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._learning_rate: Callable[[], Any] = lambda: math.nan

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clocks."""
        self._began = self._last_line = self._record.clock()
        self._remaining.begin(self._began, self._position.num_batches)
        self._num_updates = int(self.model.optimizer.iterations)

    def state(self) -> dict[str, Any]:
        """Returns the time spent so far, and counts of the optimizer for the summary."""
        return {
            "seconds": self._record.clock() - self._began,
            "num_updates": self._num_updates,
            "num_skipped_updates": self._num_skipped_updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self._began = self._record.clock() - state["seconds"]
        self._num_updates, self._num_skipped_updates = (
            state["num_updates"],
            state["num_skipped_updates"],
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the epoch, 0-based."""
        self._epoch = epoch
        if self._measurement.begin_epoch(self.model) and self._monitor is not None:
            self._monitor.show("compiling the first step")
        if self.model.optimizer is not self._optimizer:
            optimizer = self._optimizer = self.model.optimizer
            # A schedule consists of about thirty operations: 3 ms eagerly, fast as a graph.
            self._learning_rate = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the progress of the epoch, if due."""
        has_traced = self._measurement.end_batch()
        now = self._measurement.last_batch
        if has_traced:
            self._remaining.end_first_batch(now)
        # Between the passes of a step, the ranks do not wait for each other.
        if self._monitor is not None and not self._position.passes:
            with self._exchanging():
                if self._monitor.is_due():
                    self._exchange(self._monitor, logs or {}, ends_epoch=False)
        # The last step may hold padding, on one rank more than on another: its loss is meaningful
        # only over all ranks, which the line at the end of the epoch shows.
        is_within = self._position.batch_in_epoch <= (
            self._plan.batches_per_epoch - self._plan.gradient_accumulation_steps
        )
        if is_within and now - self._last_line >= self._interval_seconds:
            waiting = self._measurement.own_waiting()
            self._log_line(logs or {}, waiting, is_of_this_rank=self._plan.size > 1)
            self._draw("within an epoch", logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of the epoch, now over all ranks. Collective."""
        if self._monitor is not None:
            with self._exchanging():
                self._exchange(self._monitor, logs or {}, ends_epoch=True)
        times = self._measurement.gather_times(self._collectives)
        # Since the start of the phase. The optimizer counts these as steps.
        self._num_skipped_updates = int((logs or {}).get("skipped_steps", 0))
        measured = EpochRecord(
            num_images=self._measurement.num_images,
            seconds=self._measurement.seconds,
            times=times,
        )
        self._record.epochs.append(measured)
        waiting = {"data": times.data_share}
        if self._plan.size > 1:
            waiting["ranks"] = times.rank_share
        self._log_line(logs or {}, waiting, is_of_this_rank=False)
        if self._lines is not None:
            entry = self._entry(logs or {}, measured)
            error = self._lines.append(entry)
            if error is not None:
                logger.warning(
                    "the metrics of epoch %d could not be written: %s; they are written with "
                    "those of the next epoch",
                    self._epoch + 1,
                    error,
                )
            self._draw("by epoch", {key: entry[key] for key in entry if key != "step"})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Adds this phase to the record of the run."""
        self._measurement.stop(self.model)
        if self._monitor is not None:
            self._monitor.flush()
        error = None if self._lines is None else self._lines.flush()
        if error is not None:
            raise error
        record = self._record
        record.training_seconds += record.clock() - self._began
        record.num_steps += self._position.step
        updates = int(self.model.optimizer.iterations) - self._num_updates
        record.num_skipped_steps += (
            max(0, self._position.step - updates) + self._num_skipped_updates
        )

    def _exchange(self, monitor: NodeMonitor, logs: dict[str, Any], *, ends_epoch: bool) -> None:
        """Exchanges the use of hosts and ranks. Collective."""
        status = self._status(logs, {}, is_of_this_rank=not ends_epoch and self._plan.size > 1)
        monitor.exchange(
            self._measurement.take_interval(),
            status,
            self._name or "training",
            ends_epoch=ends_epoch,
        )

    def _log_line(
        self, logs: dict[str, Any], waiting: dict[str, float | None], *, is_of_this_rank: bool
    ) -> None:
        self._last_line = self._record.clock()
        status = self._status(logs, waiting, is_of_this_rank=is_of_this_rank)
        logger.info("%s", progress_line(status))

    def _status(
        self, logs: dict[str, Any], waiting: dict[str, float | None], *, is_of_this_rank: bool
    ) -> TrainingStatus:
        speed = self._measurement.images_per_second
        return TrainingStatus(
            epoch=self._epoch + 1,
            num_epochs=self._plan.num_epochs,
            step=self._position.step,
            num_steps=self._plan.num_steps,
            logs=logs,
            is_of_this_rank=is_of_this_rank,
            images_per_second=speed,
            seconds_left=self._remaining.seconds(
                self._record.clock(),
                num_batches=self._position.num_batches,
                traces=self._measurement.num_traces,
                images_per_second=speed,
            ),
            waiting=waiting,
            monitored=self._monitored,
            parts=self._parts(),
        )

    def _parts(self) -> tuple[int, ...]:
        last_step = max(0, self._position.step - 1)
        return () if self._allocation is None else self._allocation.parts(last_step)

    def _entry(self, logs: dict[str, Any], measured: EpochRecord) -> dict[str, Any]:
        """Returns an epoch's entry in metrics.jsonl; see docs/run-directory.md."""
        times = measured.times
        speed = self._measurement.images_per_second
        return {
            "epoch": self._epoch + 1,
            "step": self._position.step,
            **as_json(logs),
            # A callback that sets the next epoch's rate has stored this epoch's in the logs.
            "learning_rate": float(logs.get("learning_rate") or self._learning_rate()),
            "images_per_second": None if speed is None else round(speed, 1),
            "data_wait_share": rounded(times.data_share),
            "rank_wait_share": rounded(times.rank_share),
            "slowest_rank": times.slowest_rank,
            **communication_of(self.model.optimizer),
            **self._examples_by_rank(),
            "seconds": round(measured.seconds, 4),
            "peak_memory_bytes": peak_memory_bytes(),
        }

    def _examples_by_rank(self) -> dict[str, list[int]]:
        """Returns how many examples every rank had in the epoch, if that can change."""
        if self._allocation is None:
            return {}
        last_step = self._position.step
        first_step = (last_step - 1) // self._plan.steps_per_epoch * self._plan.steps_per_epoch
        return {"examples_by_rank": self._allocation.examples(first_step, last_step)}

    def _draw(self, group: str, values: dict[str, Any]) -> None:
        if self._record.board is not None:
            name = f"{self._name} {group}".strip()
            self._record.board.write_numbers(name, as_json(values), self._position.step)
