"""Saves the state of a run when it is due, and when the run is asked to stop."""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config.running.checkpoint import Checkpoint
from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import StoppedError
from hvd_imgcls.failures import process_state
from hvd_imgcls.interruption import end_by_signal
from hvd_imgcls.plan.position import Position
from hvd_imgcls.saving.background import BackgroundWriter, Snapshot
from hvd_imgcls.saving.checkpoint_times import CheckpointTimes
from hvd_imgcls.saving.state_saver import StateSaver
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.stop_request import StopRequest
from hvd_imgcls.workflows.progress.entries import as_json
from hvd_imgcls.workflows.training.hang_limits import HangLimits
from hvd_imgcls.workflows.training.saving.resuming import lengths_of, sync_files
from hvd_imgcls.workflows.training.saving.retention import retain

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Guards:
    """What ends a run early.

    Attributes:
        stop: The signals that stop it.
        limits: How long this rank may take.
    """

    stop: StopRequest
    limits: HangLimits

    @classmethod
    def without(cls, topology: Topology) -> Guards:
        """Returns guards that end nothing: no signals are received, and there are no limits."""
        return cls(StopRequest(end_by_signal), HangLimits(None, topology))


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the state of a run is saved.

    Attributes:
        directory: Directory of the checkpoints.
        facts: What the states belong to, as JSON.
        appended: Files whose present lengths belong to the state.
        required: A file that must exist, without which the state is of no use; or None.
    """

    directory: Path
    facts: Mapping[str, Any]
    appended: Sequence[Path]
    required: Path | None = None

    def prepare(self) -> None:
        """Syncs the files that belong to a state that is about to be written.

        Raises:
            OSError: If one cannot be synced, or if the run directory was removed.
        """
        if self.required is not None and not self.required.is_file():
            reason = "it was removed while the run goes on"
            raise FileNotFoundError(errno.ENOENT, reason, str(self.required))
        sync_files(self.appended)


class Checkpointing:
    """Saves the states of all ranks, and ends the run when one of them is asked to stop.

    Args:
        section: The configuration.
        states: What is saved.
        collectives: Communication between the ranks.
        destination: Where to, on the root.
        guards: The signals that stop the run, and the limits of this rank.
    """

    def __init__(
        self,
        section: Checkpoint,
        states: StateRegistry,
        collectives: distributed.Collectives,
        destination: Destination,
        guards: Guards,
    ) -> None:
        self._destination = destination
        self._stop = guards.stop
        self._times = CheckpointTimes(section)
        self._polling = Polling(collectives, "checkpoint.poll")
        # Of evaluations, whose blocks take another time than steps.
        self._evaluation_polling = Polling(collectives, "checkpoint.poll_evaluation")
        writer: BackgroundWriter | None = None
        if collectives.topology.is_root:
            store = CheckpointStore(destination.directory)
            writer = BackgroundWriter(
                store,
                before=destination.prepare,
                after=lambda: retain(store, section),
            )
        self._saver = StateSaver(
            states, collectives, writer, self._times, guards.stop, on_wait=guards.limits.save
        )
        self._phase, self._position, self._steps_before = "", Position(), 0
        # The moment of the last checkpoint, or that from which the phase started.
        self._saved = self._moment()
        # The state before the end of an epoch, while its callbacks may take long.
        self._before_end: Snapshot | None = None

    @contextmanager
    def phase(self, name: str, position: Position, steps_before: int) -> Iterator[None]:
        """Context manager in which a phase is trained.

        Args:
            name: Its name.
            position: Its position.
            steps_before: Steps of the phases before it.
        """
        self._phase, self._position, self._steps_before = name, position, steps_before
        self._saved = self._moment()
        with self._stop.polled():
            yield

    def end_batch(self, *, is_settled: bool = True) -> None:
        """Saves and stops if due, after everything that belongs to the batch is done.

        Collective: every rank must call this.

        Args:
            is_settled: Whether the model is equal on all ranks now; otherwise, later.

        Raises:
            StoppedError: On all ranks, if one was asked to stop.
        """
        if self._position.passes:
            return
        number, is_due = self._saver.to_do(
            self._polling.tick(self._saver.wishes),
            is_due=self._times.is_due_after_step(self._step),
            is_settled=is_settled,
        )
        if number:
            self._save_and_stop(number)
        if is_due:
            self._save()

    def before_epoch_end(self) -> None:
        """Keeps the state while the callbacks at the end of an epoch run, which may take long.

        Collective: every rank must call this.
        """
        self._before_end = self._snapshot()
        self._evaluation_polling.restart()

    def end_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Saves and stops if due, after everything that belongs to the epoch is done.

        Collective: every rank must call this.

        Args:
            metrics: The metrics of the epoch, JSON.

        Raises:
            StoppedError: On all ranks, if one was asked to stop.
        """
        self._before_end = None
        number, is_due = self._saver.to_do(
            self._polling.ask(self._saver.wishes),
            is_due=self._times.is_due_after_epoch(self._position.epoch),
            is_settled=True,
        )
        if number:
            self._save_and_stop(number, metrics)
        if is_due:
            self._save(metrics)

    def end_training(self, metrics: Mapping[str, Any]) -> None:
        """Saves the state after the last step, unless it is saved already.

        Collective: every rank must call this.

        Args:
            metrics: The metrics of the last epoch, JSON.
        """
        self._saver.wait()
        _, has_failed = self._polling.ask(self._saver.failure)
        if has_failed or self._moment() != self._saved:
            self._save(metrics)

    def evaluated(self) -> None:
        """Stops if asked, within an evaluation that all ranks do together.

        Collective: every rank must call this.

        Raises:
            StoppedError: On all ranks, if one was asked to stop.
        """
        asked = self._evaluation_polling.tick(self._saver.wishes)
        if asked is None or not asked[0]:
            return
        self._saver.submit(self._before_end)
        self._stop_all(asked[0])

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Context manager in which `evaluated` is called regularly, equally often on all ranks."""
        self._evaluation_polling.restart()
        with self._stop.polled():
            yield

    def end(self) -> None:
        """Waits until everything is written. Collective: every rank must call this."""
        process_state.is_resumable = self._saver.outcome(self._step)["saved"] is not None

    def _moment(self) -> tuple[str, int, int]:
        return self._phase, self._position.num_batches, self._position.epoch

    @property
    def _step(self) -> int:
        return self._steps_before + self._position.step

    def _save(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Copies the states of all ranks, and starts writing them. Collective."""
        self._saver.submit(self._snapshot(metrics))
        self._saved = self._moment()

    def _snapshot(self, metrics: Mapping[str, Any] | None = None) -> Snapshot | None:
        """Returns a copy of the states of all ranks, on the root; elsewhere None. Collective."""
        facts = {
            **self._destination.facts,
            "phase": self._phase,
            "epoch": self._position.epoch,
            "metrics": as_json(metrics or {}),
            "files": lengths_of(self._destination.appended),
        }
        return self._saver.snapshot(self._step, facts)

    def _save_and_stop(self, number: int, metrics: Mapping[str, Any] | None = None) -> None:
        self._save(metrics)
        self._stop_all(number)

    def _stop_all(self, number: int) -> None:
        """Ends the run when everything is written. Collective."""
        raise StoppedError(signal.Signals(number), **self._saver.outcome(self._step))
