"""Saves a `fit` when it is due, and when one of its ranks is asked to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config.running.checkpoint import Checkpoint as Section
from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.errors import StoppedError
from hvd_imgcls.plan.position import Position
from hvd_imgcls.saving.background import BackgroundWriter
from hvd_imgcls.saving.checkpoint_times import CheckpointTimes
from hvd_imgcls.saving.state_saver import StateSaver
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.stop_request import StopRequest

logger = logging.getLogger(__name__)


class FitStoppedError(StoppedError, SystemExit):
    """`fit` was asked to stop, and is saved. Raised on all ranks.

    It is a `SystemExit` too: Python ends a script that does not catch it without a traceback, and
    with its exit code, 75, or 128 plus the number of the signal if nothing is saved.
    """

    def __init__(
        self, by: signal.Signals, *, step: int, saved: str | None, problem: str = ""
    ) -> None:
        super().__init__(by, step=step, saved=saved, problem=problem)
        self.code = self.exit_code


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a `fit` is saved.

    Attributes:
        directory: Directory of the checkpoints.
        section: When, and how many are kept.
        facts: What the states belong to, as JSON.
    """

    directory: Path
    section: Section
    facts: Mapping[str, Any]


class FitSaving:
    """Saves the states of all ranks, and ends `fit` when one of them is asked to stop.

    Args:
        destination: Where to, on the root.
        states: What is saved.
        collectives: Communication between the ranks.
        position: How far training is.
        stop: The signals.
    """

    def __init__(
        self,
        destination: Destination,
        states: StateRegistry,
        collectives: Collectives,
        position: Position,
        stop: StopRequest,
    ) -> None:
        self._destination = destination
        self._is_root = collectives.topology.is_root
        self._position = position
        self._times = CheckpointTimes(destination.section)
        self._polling = Polling(collectives, "fit.checkpoint.poll")
        writer: BackgroundWriter | None = None
        if self._is_root:
            store = CheckpointStore(destination.directory)
            keep_last = destination.section.keep_last
            writer = BackgroundWriter(store, after=lambda: _retain(store, keep_last))
        self._saver = StateSaver(states, collectives, writer, self._times, stop)
        self._asked_step = position.step
        self._saved = self._moment() if position.num_batches else None

    def end_batches(self, *, is_settled: bool) -> None:
        """Saves and stops if due, after everything that belongs to a batch is done.

        Collective: every rank must call this.

        Args:
            is_settled: Whether the model is equal on all ranks now; otherwise, later.

        Raises:
            FitStoppedError: On all ranks, if one was asked to stop.
        """
        if self._position.passes:
            return
        step = self._position.step
        num_steps, self._asked_step = step - self._asked_step, step
        number, is_due = self._saver.to_do(
            self._polling.tick(self._saver.wishes),
            is_due=self._times.is_due_after_step(step, num_steps),
            is_settled=is_settled,
        )
        if number:
            self._save_and_stop(number)
        if is_due:
            self._save()

    def end_epoch(self, *, is_last: bool) -> None:
        """Saves and stops if due, after everything that belongs to an epoch is done.

        Collective: every rank must call this.

        Args:
            is_last: Whether training ends, so that its state is saved in any case.

        Raises:
            FitStoppedError: On all ranks, if one was asked to stop.
        """
        number, is_due = self._saver.to_do(
            self._polling.ask(self._saver.wishes),
            is_due=is_last or self._times.is_due_after_epoch(self._position.epoch),
            is_settled=True,
        )
        if number:
            self._save_and_stop(number)
        if is_due:
            self._save()

    def end(self) -> bool:
        """Waits until everything is written. Collective: every rank must call this.

        Returns:
            Whether the training can be continued.
        """
        return self._saver.outcome(self._position.step)["saved"] is not None

    def _moment(self) -> tuple[int, int]:
        return self._position.num_batches, self._position.epoch

    def _save(self) -> None:
        """Copies the states of all ranks, and starts writing them. Collective."""
        if self._moment() == self._saved:
            return
        facts = {
            **self._destination.facts,
            "epoch": self._position.epoch,
            "batch": self._position.batch_in_epoch,
        }
        self._saver.submit(self._saver.snapshot(self._position.step, facts))
        self._saved = self._moment()

    def _save_and_stop(self, number: int) -> None:
        """Ends `fit` when everything is written. Collective."""
        self._save()
        outcome = self._saver.outcome(self._position.step)
        error = FitStoppedError(signal.Signals(number), **outcome)
        if self._is_root:
            logger.warning("%s", error)
        raise error


def _retain(store: CheckpointStore, keep_last: int) -> None:
    store.retain(keep_last)
