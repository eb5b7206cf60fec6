"""The position of a training phase in its plan."""

from __future__ import annotations

from typing import Any


class Position:
    """Counts the completed batches and epochs of a phase; equal on all ranks.

    A batch is one backward pass of a rank, as Keras counts them. A step consists of
    `batches_per_step` batches and one update of the weights.

    Args:
        batches_per_step: Backward passes per step, at least 1.
    """

    def __init__(self, batches_per_step: int = 1) -> None:
        self.batches_per_step = batches_per_step
        self._num_batches = self._epoch = self._batches_before_epoch = 0

    @property
    def num_batches(self) -> int:
        """Batches completed since the start of the phase."""
        return self._num_batches

    @property
    def step(self) -> int:
        """Steps completed since the start of the phase."""
        return self._num_batches // self.batches_per_step

    @property
    def passes(self) -> int:
        """Backward passes completed in the current step, 0 .. `batches_per_step - 1`."""
        return self._num_batches % self.batches_per_step

    @property
    def epoch(self) -> int:
        """The current epoch, 0-based: the number of completed epochs."""
        return self._epoch

    @property
    def batch_in_epoch(self) -> int:
        """Batches completed in the current epoch."""
        return self._num_batches - self._batches_before_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps completed in the current epoch."""
        return self.batch_in_epoch // self.batches_per_step

    def end_batch(self) -> None:
        """Counts a completed batch."""
        self._num_batches += 1

    def end_epoch(self) -> None:
        """Counts a completed epoch."""
        self._epoch += 1
        self._batches_before_epoch = self._num_batches

    def state(self) -> dict[str, Any]:
        """Returns the counts; `step` is only for human readers."""
        return {
            "num_batches": self._num_batches,
            "epoch": self._epoch,
            "batches_before_epoch": self._batches_before_epoch,
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self._num_batches = int(state["num_batches"])
        self._epoch = int(state["epoch"])
        self._batches_before_epoch = int(state["batches_before_epoch"])
