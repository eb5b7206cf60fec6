"""Saves the states of all ranks in the background."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.distributed.state_exchange import gather_states
from hvd_imgcls.saving.background import BackgroundWriter, Snapshot
from hvd_imgcls.saving.checkpoint_times import CheckpointTimes
from hvd_imgcls.saving.waiting import wait_together
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.stop_request import StopRequest


class StateSaver:
    """Saves the states of all ranks, one snapshot at a time.

    Args:
        states: What is saved.
        collectives: Communication between the ranks.
        writer: Writes snapshots, on the root; elsewhere None.
        times: When snapshots are due.
        stop: The signals of this rank.
        on_wait: Called before the ranks wait for the disk.
    """

    def __init__(
        self,
        states: StateRegistry,
        collectives: Collectives,
        writer: BackgroundWriter | None,
        times: CheckpointTimes,
        stop: StopRequest,
        *,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._states = states
        self._collectives = collectives
        self._writer = writer
        self._times = times
        self._stop = stop
        self._on_wait = on_wait
        # What was asked for while the ranks were apart.
        self._signal, self._is_due = 0, False

    def wishes(self) -> tuple[int, int]:
        """Returns the signal that this rank received, 0 if none, and whether to save now.

        The maxima over the ranks decide.
        """
        is_free = self._writer is not None and not self._writer.is_busy
        return self._stop.signal, int(is_free and self._times.is_due_by_time())

    def to_do(
        self, wishes: tuple[int, ...] | None, *, is_due: bool, is_settled: bool
    ) -> tuple[int, bool]:
        """Returns the signal that stops training, 0 if none, and whether to save now.

        Nothing is done before the model is equal on all ranks, but remembered until then.

        Args:
            wishes: The maxima of `wishes` over the ranks, if they have been asked for.
            is_due: Whether a snapshot is due after this step or epoch, the same on all ranks.
            is_settled: Whether the model is equal on all ranks now.
        """
        number, saves_now = wishes or (0, 0)
        signal = max(self._signal, number)
        is_due = is_due or self._is_due or bool(saves_now)
        if not is_settled:
            self._signal, self._is_due = signal, is_due
            return 0, False
        self._signal, self._is_due = 0, False
        return signal, is_due

    def failure(self) -> tuple[int, int]:
        """Returns 0, and whether the last snapshot could not be written, like `wishes`."""
        return 0, int(self._writer is not None and bool(self._writer.problem))

    def snapshot(self, step: int, facts: Mapping[str, Any]) -> Snapshot | None:
        """Returns a copy of the states of all ranks, on the root; elsewhere None.

        Collective: every rank must call this.

        Args:
            step: Completed steps.
            facts: JSON: what the states belong to. Number of ranks and time are added.
        """
        is_root = self._collectives.topology.is_root
        states = self._states.states(only_differing=not is_root)
        others = gather_states(self._collectives, states)
        if not is_root:
            return None
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        facts = {**facts, "size": self._collectives.topology.size, "saved": now}
        return Snapshot(step=step, states=states, states_by_rank=others, facts=facts)

    def submit(self, snapshot: Snapshot | None) -> None:
        """Starts writing a snapshot of the root, after the one before.

        Collective: every rank must call this.
        """
        self.wait()
        if self._writer is not None and snapshot is not None:
            self._writer.submit(snapshot)
        self._times.restart()

    def wait(self) -> None:
        """Waits until nothing is being written. Collective: every rank must call this."""
        self._on_wait()
        wait_together(self._writer, self._collectives)

    def outcome(self, step: int) -> dict[str, Any]:
        """Returns what was saved last, when everything is written.

        Collective: every rank must call this.

        Args:
            step: Completed steps.

        Returns:
            The arguments of `StoppedError` but for the signal, equal on all ranks.
        """
        self.wait()
        outcome: dict[str, Any] = {}
        if self._writer is not None:
            entry = self._writer.last_written
            outcome = {
                "saved": None if entry is None else str(entry.path),
                "step": step,
                "problem": self._writer.problem,
            }
        result: dict[str, Any] = self._collectives.broadcast_json(outcome)
        return result
