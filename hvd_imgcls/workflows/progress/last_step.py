"""Ends training after the last step."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.position import Position


class StopAfterSteps(keras.callbacks.Callback):
    """Ends training within an epoch, on all ranks at the same step.

    Args:
        plan: Defines the last step.
        position: Position of the phase.
    """

    def __init__(self, plan: Plan, position: Position) -> None:
        super().__init__()
        self._num_steps = plan.num_steps
        self._position = position

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops after the last step."""
        if self._position.step >= self._num_steps:
            self.model.stop_training = True
