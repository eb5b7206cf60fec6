"""Callbacks that keep a state up to date and commit it."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.elastic.states import State

Logs = dict[str, Any] | None


class CommitStateCallback(keras.callbacks.Callback):
    """Commits a state after every few batches, and after every epoch.

    Collective: every rank must have it. It commits when all callbacks have seen the batch or the
    epoch, so its place in the list does not matter.

    Args:
        state: A state of `hvd.elastic`.
        batches_per_commit: Batches between two commits, at least 1.
    """

    def __init__(self, state: State, batches_per_commit: int = 1) -> None:
        super().__init__()
        if not isinstance(batches_per_commit, int) or batches_per_commit < 1:
            raise ConfigError(
                "CommitStateCallback(batches_per_commit)",
                got=batches_per_commit,
                expected="a positive integer",
                fix="use 1 to commit every batch",
            )
        self._state = state
        self._every = batches_per_commit
        self._num_batches = 0
        self._is_due = False

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Commits the batches before. Collective."""
        self._commit()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts a batch."""
        self._num_batches += 1
        self._is_due = self._num_batches % self._every == 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Commits the epoch before. Collective."""
        self._commit()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Notes that an epoch is done."""
        self._is_due = True

    def on_train_end(self, logs: Logs = None) -> None:
        """Commits the last epoch. Collective."""
        self._commit()

    def _commit(self) -> None:
        if self._is_due:
            self._is_due = False
            self._state.commit()
        else:
            self._state.check_host_updates()


class UpdateBatchStateCallback(keras.callbacks.Callback):
    """Sets `state.batch` to the number of completed batches of the epoch, 0 after an epoch.

    Args:
        state: A state with an attribute `batch`.
    """

    def __init__(self, state: Any) -> None:
        super().__init__()
        _require(state, "batch", "UpdateBatchStateCallback")
        self._state = state
        self._first = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Remembers how many batches were completed before."""
        self._first = self._state.batch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts a batch."""
        self._state.batch = self._first + batch + 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Begins to count anew."""
        self._first = self._state.batch = 0


class UpdateEpochStateCallback(keras.callbacks.Callback):
    """Sets `state.epoch` to the number of completed epochs.

    Args:
        state: A state with an attribute `epoch`.
    """

    def __init__(self, state: Any) -> None:
        super().__init__()
        _require(state, "epoch", "UpdateEpochStateCallback")
        self._state = state
        self._first = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Remembers how many epochs were completed before: `fit` counts from 0."""
        self._first = self._state.epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Counts an epoch."""
        self._state.epoch = self._first + epoch + 1


def _require(state: Any, name: str, owner: str) -> None:
    if not hasattr(state, name):
        raise ConfigError(
            f"{owner}(state)",
            got=f"a state without {name}",
            expected=f"one with {name}",
            fix=f"create it with KerasState(model, {name}=0)",
        )
