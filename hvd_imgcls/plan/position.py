"""Where a training is, and nothing but that."""

from __future__ import annotations

from typing import Any


class Position:
    """Counts the finished batches and epochs of a training; every rank counts the same.

    A batch is one backward pass of a rank, as Keras counts them. A step is
    `batches_per_step` of them and one update of the weights.

    Args:
        batches_per_step: Backward passes per step, at least 1.
    """

    def __init__(self, batches_per_step: int = 1) -> None:
        self.batches_per_step = batches_per_step
        self._num_batches = self._epoch = self._batches_before_epoch = 0

    @property
    def num_batches(self) -> int:
        """Batches finished since the training began."""
        return self._num_batches

    @property
    def step(self) -> int:
        """Steps finished since the training began."""
        return self._num_batches // self.batches_per_step

    @property
    def passes(self) -> int:
        """Backward passes finished of the step that has begun, 0 .. `batches_per_step - 1`."""
        return self._num_batches % self.batches_per_step

    @property
    def epoch(self) -> int:
        """The epoch that has begun and not ended, 0-based: the number of epochs that ended."""
        return self._epoch

    @property
    def batch_in_epoch(self) -> int:
        """Batches finished in that epoch."""
        return self._num_batches - self._batches_before_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps finished in that epoch."""
        return self.batch_in_epoch // self.batches_per_step

    def end_batch(self) -> None:
        """Counts one more batch."""
        self._num_batches += 1

    def end_epoch(self) -> None:
        """Counts one more epoch."""
        self._epoch += 1
        self._batches_before_epoch = self._num_batches

    def state(self) -> dict[str, Any]:
        """Returns the counts; `step` is there to be read by people."""
        return {
            "num_batches": self._num_batches,
            "epoch": self._epoch,
            "batches_before_epoch": self._batches_before_epoch,
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` returned."""
        self._num_batches = int(state["num_batches"])
        self._epoch = int(state["epoch"])
        self._batches_before_epoch = int(state["batches_before_epoch"])
