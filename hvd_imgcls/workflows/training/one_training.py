"""Presents several calls of `fit`, possibly resumed, as one call to callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from hvd_imgcls.keras.settling import is_settled, settle
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.training.saving.checkpointing import Checkpointing


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What is done around batches and epochs in addition to callbacks.

    Attributes:
        checkpointing: Saves the state when everything that belongs to a batch or an epoch is done.
        evaluates_after: Whether the held-out split is evaluated at the end of an epoch, 0-based.
        on_callbacks: Called before the callbacks at the end of a batch or an epoch.
    """

    checkpointing: Checkpointing | None = None
    evaluates_after: Callable[[int], bool] = lambda epoch: False
    on_callbacks: Callable[[], None] = lambda: None


class OneTraining(keras.callbacks.CallbackList):
    """Callbacks that see several calls of `fit` as one.

    It counts batches and epochs: a batch before the hooks of its end, an epoch after them.

    Args:
        callbacks: In their order.
        model: The model being trained.
        plan: The plan of the whole phase.
        position: Updated only here.
        restore: Called once, after `on_train_begin` and, if training is resumed within an epoch,
            `on_epoch_begin`: restores the state of a resumed training.
        hooks: What else is done around batches and epochs.
    """

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        model: keras.Model,
        plan: Plan,
        position: Position,
        restore: Callable[[], None] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        # The parameters that `fit` passes to callbacks given in a plain list.
        params = {"epochs": plan.num_epochs, "steps": plan.batches_per_epoch, "verbose": 0}
        super().__init__(callbacks, add_history=True, model=model, **params)
        self._position = position
        self._restore = restore
        self._hooks = hooks or Hooks()
        self._has_begun = False
        self._first_batch = 0
        self._last_logs: dict[str, float] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts training, the first time."""
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)
            if not self._position.batch_in_epoch:
                self._restore_once()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts an epoch, or resumes the one in which training was interrupted."""
        self._first_batch = self._position.batch_in_epoch
        super().on_epoch_begin(epoch, logs)
        self._restore_once()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts a batch, which is numbered within its epoch."""
        super().on_train_batch_begin(batch + self._first_batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts a batch and ends it."""
        self._hooks.on_callbacks()
        self._position.end_batch()
        super().on_train_batch_end(batch + self._first_batch, logs)
        if self._hooks.checkpointing is not None:
            self._hooks.checkpointing.end_batch(is_settled=is_settled(self.model))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends an epoch and counts it."""
        self._hooks.on_callbacks()
        settle(self.model)
        checkpointing = self._hooks.checkpointing
        if checkpointing is not None and self._hooks.evaluates_after(epoch):
            checkpointing.before_epoch_end()
        super().on_epoch_end(epoch, logs)
        self._position.end_epoch()
        self._last_logs = numbers_in(logs or {})
        if checkpointing is not None:
            checkpointing.end_epoch(self._last_logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Does nothing until `end` is called."""

    def end(self) -> None:
        """Ends, once."""
        super().on_train_end(self._last_logs)

    @property
    def last_metrics(self) -> dict[str, float]:
        """The metrics of the last epoch."""
        return self._last_logs or {}

    def state(self) -> dict[str, Any]:
        """Returns whether a callback has ended training, and the last metrics of an epoch."""
        return {
            "stops": bool(self.model.stop_training),
            "logs": self._last_logs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self.model.stop_training = state["stops"]
        self._last_logs = state["logs"]

    def _restore_once(self) -> None:
        if self._restore is not None:
            restore, self._restore = self._restore, None
            restore()


def numbers_in(logs: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers in the metrics of an epoch, as floats."""
    arrays = {name: np.asarray(value) for name, value in logs.items()}
    return {
        name: float(array)
        for name, array in arrays.items()
        if array.ndim == 0 and array.dtype.kind in "biuf"
    }
