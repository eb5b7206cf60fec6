"""Presents several calls of `fit`, possibly resumed, as one call to callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.position import Position


class OneTraining(keras.callbacks.CallbackList):
    """Callbacks that see several calls of `fit` as one.

    It counts batches and epochs: a batch before the hooks of its end, an epoch after them.

    Args:
        callbacks: In their order.
        model: The model being trained.
        plan: The plan of the whole phase.
        position: Updated only here.
        restore: Called once, in the first epoch, after `on_train_begin` and `on_epoch_begin`:
            restores the state of a resumed training.
    """

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        model: keras.Model,
        plan: Plan,
        position: Position,
        restore: Callable[[], None] | None = None,
    ) -> None:
        # The parameters that `fit` passes to callbacks given in a plain list.
        params = {"epochs": plan.num_epochs, "steps": plan.batches_per_epoch, "verbose": 0}
        super().__init__(callbacks, add_history=True, model=model, **params)
        self._position = position
        self._restore = restore
        self._has_begun = False
        self._first_batch = 0
        self._last_logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts training, the first time."""
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts an epoch, or resumes the one in which training was interrupted."""
        self._first_batch = self._position.batch_in_epoch
        super().on_epoch_begin(epoch, logs)
        if self._restore is not None:
            restore, self._restore = self._restore, None
            restore()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts a batch, which is numbered within its epoch."""
        super().on_train_batch_begin(batch + self._first_batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts a batch and ends it."""
        self._position.end_batch()
        super().on_train_batch_end(batch + self._first_batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends an epoch and counts it."""
        super().on_epoch_end(epoch, logs)
        self._position.end_epoch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Does nothing until `end` is called."""
        self._last_logs = logs

    def end(self) -> None:
        """Ends, once."""
        super().on_train_end(self._last_logs)
