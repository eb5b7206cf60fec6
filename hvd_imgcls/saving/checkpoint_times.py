"""When checkpoints are due."""

from __future__ import annotations

import time
from collections.abc import Callable

from hvd_imgcls.config.running.checkpoint import Checkpoint


class CheckpointTimes:
    """Decides when a checkpoint is due.

    Args:
        section: The configuration.
        clock: Returns seconds since an arbitrary moment.
    """

    def __init__(self, section: Checkpoint, clock: Callable[[], float] = time.monotonic) -> None:
        self._section = section
        self._clock = clock
        self._last = clock()

    def is_due_by_time(self) -> bool:
        """Returns whether `every_minutes` have passed since the last one. Differs by rank."""
        minutes = self._section.every_minutes
        return minutes is not None and self._clock() - self._last >= 60 * minutes

    def is_due_after_step(self, step: int, num_steps: int = 1) -> bool:
        """Returns whether one is due after a step; the same on all ranks.

        Args:
            step: The step, 1-based.
            num_steps: Steps since it was last asked; with several, one of them may be the due one.
        """
        every = self._section.every_steps
        return every is not None and step % every < num_steps

    def is_due_after_epoch(self, epoch: int) -> bool:
        """Returns whether one is due after an epoch, 1-based; the same on all ranks."""
        every = self._section.every_epochs
        return every is not None and epoch % every == 0

    def restart(self) -> None:
        """Starts the clock of `is_due_by_time` again."""
        self._last = self._clock()
