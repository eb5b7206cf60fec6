"""Writes checkpoints in a thread, while training goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.checkpoints.entry import Entry
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError, first_line
from hvd_imgcls.failures import process_state
from hvd_imgcls.state_registry import State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The state of a run at one moment, in memory.

    Attributes:
        step: Completed steps.
        states: States of the root.
        states_by_rank: States of the other ranks that differ from the root's, by rank.
        facts: JSON: what the state belongs to.
    """

    step: int
    states: Mapping[str, State]
    states_by_rank: Sequence[Mapping[str, State]]
    facts: Mapping[str, Any]


class BackgroundWriter:
    """Writes one snapshot at a time. A failure is logged, and does not end training.

    Args:
        store: Where to.
        before: Called before each checkpoint: syncs the files that belong to it.
        after: Called after each checkpoint: deletes those that are not kept.

    Attributes:
        last_written: The newest checkpoint; None if there is none.
        problem: Why the last snapshot could not be written; empty if it was.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        after: Callable[[], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._before = before
        self._after = after
        self._thread: threading.Thread | None = None
        # Of the run that is continued.
        self.last_written: Entry | None = next(reversed(store.entries()), None)
        self.problem: str = ""
        self._unexpected: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is being written."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, snapshot: Snapshot) -> None:
        """Starts writing a snapshot, after the one before."""
        self.wait()
        # A daemon: a process that ends does not wait for a disk that does not answer.
        self._thread = threading.Thread(target=self._write, args=(snapshot,), daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until nothing is being written.

        Args:
            seconds: For how long; None without a limit.

        Returns:
            Whether nothing is being written.

        Raises:
            Exception: What was raised in the thread, other than errors of the disk.
        """
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
            self._thread = None
        if self._unexpected is not None:
            raise self._unexpected
        return True

    def _write(self, snapshot: Snapshot) -> None:
        try:
            self._before()
            self.last_written = self._store.write(
                snapshot.step, snapshot.states, snapshot.states_by_rank, snapshot.facts
            )
            self.problem = ""
            # A signal may end the process where nobody asks for signals.
            process_state.is_resumable = True
        except (OSError, CheckpointError) as error:
            self.problem = first_line(error)
            logger.warning(
                "the state after step %s could not be saved: %s; training goes on, and it is tried "
                "again at the next checkpoint",
                f"{snapshot.step:,}",
                self.problem,
            )
            return
        except Exception as error:
            self._unexpected = error
            return
        try:
            self._after()
        except CheckpointError as error:
            logger.warning("an old checkpoint could not be deleted: %s", first_line(error))
        except Exception as error:
            self._unexpected = error
