"""Commits on disk, and the signal that ends the ranks when their hosts change."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config.running.checkpoint import Checkpoint as Section
from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.callbacks.checkpointing.saving import FitStoppedError
from hvd_imgcls.launcher.elastic.ranks import DIRECTORY, is_restarted
from hvd_imgcls.saving.background import BackgroundWriter
from hvd_imgcls.saving.checkpoint_times import CheckpointTimes
from hvd_imgcls.saving.newest_state import Resumed, read_newest
from hvd_imgcls.saving.state_saver import StateSaver
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.stop_request import StopRequest

logger = logging.getLogger(__name__)

_WRITER = "hvd.elastic"
_KEEP_LAST = 2


class Commits:
    """Writes commits of all ranks in the background, and stops the ranks when one is asked to.

    Collective: every rank must create one.

    Args:
        directory: Where the root writes; None keeps no commits.
        states: What is committed.
        stop: The signals of this rank.
    """

    def __init__(self, directory: Path | None, states: StateRegistry, stop: StopRequest) -> None:
        ranks = distributed.current()
        self._ranks, self._states, self._stop = ranks, states, stop
        self._directory = directory
        self._number = 0
        self._polling = Polling(ranks, "elastic.poll")
        writer = None
        if directory is not None and ranks.topology.is_root:
            store = CheckpointStore(directory)
            writer = BackgroundWriter(store, after=lambda: _retain(store))
        self._saver = StateSaver(states, ranks, writer, CheckpointTimes(Section()), stop)

    def read(self) -> Resumed | None:
        """Restores the last commit, on every rank; None if there is none. Collective.

        Raises:
            CheckpointError: If commits are damaged, or another program wrote them.
        """
        found = None
        if self._directory is not None:
            found = read_newest(self._directory, self._ranks, self._check)
        if found is None:
            if is_restarted() and self._ranks.topology.is_root:
                logger.warning(
                    "there is no commit in %s: training begins anew; all hosts must share it",
                    self._directory,
                )
            return None
        topology = self._ranks.topology
        self._states.restore_on(found.states_by_rank, topology.rank, topology.size)
        self._number = found.step
        return found

    def write(self) -> None:
        """Copies the states of all ranks and starts to write them. Collective."""
        self._number += 1
        if self._directory is not None:
            facts = {"writer": _WRITER}
            self._saver.submit(self._saver.snapshot(self._number, facts))

    def stop_if_asked(self, *, now: bool = False) -> None:
        """Ends all ranks if one was asked to, about once per second. Collective.

        What was not committed is written before.

        Args:
            now: Whether the ranks ask each other in any case.

        Raises:
            FitStoppedError: On all ranks.
        """
        ask = self._polling.ask if now else self._polling.tick
        wishes = ask(lambda: (self._stop.signal,))
        number = wishes[0] if wishes else 0
        if number:
            self.write()
            outcome = self._saver.outcome(self._number)
            raise FitStoppedError(signal.Signals(number), **outcome)

    def wait(self) -> None:
        """Waits until everything is written. Collective."""
        self._saver.wait()

    def _check(self, facts: Any) -> None:
        if facts.get("writer") != _WRITER:
            raise CheckpointError(
                f"{self._directory}: got checkpoints of another program, expected commits of "
                f"hvd.elastic; set {DIRECTORY} to another directory"
            )


def _retain(store: CheckpointStore) -> None:
    store.retain(_KEEP_LAST)
