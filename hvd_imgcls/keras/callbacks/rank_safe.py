"""Runs any Keras callback on several ranks: it runs on the root, and all ranks follow.

A callback that decides (stops, changes the learning rate, restores weights) from one rank's
metrics decides differently on every rank: one rank stops, and the others wait forever.
Here, one rank decides for all, from the metrics over all ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.distributed.agreement import require_same
from hvd_imgcls.keras.callbacks import backups, batch_hooks, decisions, root_failure
from hvd_imgcls.keras.callbacks.batch_hooks import BatchHook
from hvd_imgcls.keras.callbacks.eligibility import knows_of_ranks, require_wrappable
from hvd_imgcls.keras.callbacks.metric_average import MetricAverageCallback
from hvd_imgcls.keras.state.callback_state import CallbackState

Logs = dict[str, Any]


class RankSafe(keras.callbacks.Callback):
    """Runs callbacks only on the root and applies their decisions on all ranks.

    For callbacks of Keras and your own. They receive the metrics over the examples of all
    ranks, and files are written once. After each of their hooks, changes are sent to all ranks:
    `model.stop_training`, the learning rate and other numbers of the optimizer, weights and
    optimizer state, plain values in `logs`. Variables are compared by hash and sent only if
    they have changed. The first epoch that `BackupAndRestore` chooses is that of all ranks.
    If a callback raises, all ranks exit: the root with that error, the
    others with one that names it.

    A callback must not communicate itself, since no other rank would take part; pass such ones
    to `fit` directly. Attributes of a callback (`EarlyStopping.best`) are on the root. Only
    callbacks with batch hooks have a cost per batch: see `watches_weights_in_batches`.
    Hooks of test and prediction batches run on the root, and their changes are not sent.

    Collective: every rank must have this callback in the same position, with the same
    callbacks in it, after `BroadcastGlobalVariablesCallback`.

    Args:
        callbacks: One callback or several.
        averages_metrics: Whether to reduce the metrics here. False saves one small
            message per epoch if `MetricAverageCallback` comes before.
        watches_weights_in_batches: Whether weights are hashed around the batch hooks of
            callbacks other than Keras's, two passes over model and optimizer on the root
            in every batch. False if none of them changes weights there. The batch hooks
            of callbacks that only write (`ModelCheckpoint`, `TensorBoard`) run on the
            root's own values and send nothing; others send two small messages per batch.

    Raises:
        ConfigError: For a callback that cannot run on the root only.
    """

    def __init__(
        self,
        callbacks: keras.callbacks.Callback | Iterable[keras.callbacks.Callback],
        *,
        averages_metrics: bool = True,
        watches_weights_in_batches: bool = True,
    ) -> None:
        super().__init__()
        is_one = isinstance(callbacks, keras.callbacks.Callback)
        self.callbacks: list[keras.callbacks.Callback] = [callbacks] if is_one else list(callbacks)
        for callback in self.callbacks:
            require_wrappable(callback)
        self._batch_hooks = {
            name: batch_hooks.kind_of(
                name, self.callbacks, watches_weights=watches_weights_in_batches
            )
            for name in ("on_train_batch_begin", "on_train_batch_end")
        }
        reads_metrics = self._has("on_epoch_end") or self._has("on_test_end")
        self._average = MetricAverageCallback() if averages_metrics and reads_metrics else None
        self._is_in_epoch = False

    def state(self) -> dict[str, Any]:
        """Returns the states of the callbacks; only those of the root are valid."""
        return {"callbacks": [CallbackState(callback).state() for callback in self.callbacks]}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`, for the same callbacks."""
        for callback, of_callback in zip(self.callbacks, state["callbacks"], strict=True):
            CallbackState(callback).restore(of_callback)

    def set_params(self, params: dict[str, Any] | None) -> None:
        """Forwards the parameters, on the root."""
        super().set_params(params)
        if _is_root():
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        """Forwards the model, on the root."""
        super().set_model(model)
        if self._average is not None:
            self._average.set_model(model)
        if _is_root():
            for callback in self.callbacks:
                callback.set_model(model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Compares the callbacks of all ranks, and runs them. Collective."""
        require_same(
            distributed.current(),
            {"callbacks": [type(callback).__name__ for callback in self.callbacks]},
            fix="pass the same callbacks to RankSafe on every rank; it runs them on the root",
        )
        restores = backups.any_restores(self.callbacks)
        if restores:
            backups.prepare(self.model)
        self._together("on_train_begin", logs=logs)
        if restores:
            backups.share_first_epoch(self.model)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective."""
        self._together("on_train_end", logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective."""
        self._is_in_epoch = True
        if self._average is not None:
            self._average.on_epoch_begin(epoch, logs)
        self._together("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Reduces the metrics and runs the callbacks. Collective."""
        self._is_in_epoch = False
        if self._average is not None:
            self._average.on_epoch_end(epoch, logs)
        self._together("on_epoch_end", epoch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective if one of them may decide something here."""
        self._in_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective if one of them may decide something here."""
        self._in_batch("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective in the validation of `fit`, but not in `evaluate`."""
        if not self._is_in_epoch:
            self._on_root("on_test_begin", logs=logs)
            return
        if self._average is not None:
            self._average.on_test_begin(logs)
        self._together("on_test_begin", logs=logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Runs the callbacks. Collective in the validation of `fit`, but not in `evaluate`."""
        if not self._is_in_epoch:
            self._on_root("on_test_end", logs=logs)
            return
        if self._average is not None:
            self._average.on_test_end(logs)
        self._together("on_test_end", logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_test_batch_begin", batch, logs=logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_test_batch_end", batch, logs=logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_predict_end", logs=logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_predict_batch_begin", batch, logs=logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Runs the callbacks on the root."""
        self._on_root("on_predict_batch_end", batch, logs=logs)

    def _has(self, hook: str) -> bool:
        return any(batch_hooks.overrides(callback, hook) for callback in self.callbacks)

    def _in_batch(self, hook: str, batch: int, logs: Logs | None) -> None:
        kind = self._batch_hooks[hook]
        if kind is BatchHook.NONE:
            return
        if kind is BatchHook.WRITES:
            self._on_root(hook, batch, logs=logs)
            return
        logs = _mean_over_ranks(logs)
        self._together(
            hook, batch, logs=logs, with_weights=kind is BatchHook.DECIDES_AND_MAY_CHANGE_WEIGHTS
        )

    def _on_root(self, hook: str, *arguments: Any, logs: Logs | None) -> None:
        """Runs a hook on the root. Not collective."""
        if not _is_root():
            return
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*arguments, logs)
            except BaseException as error:
                if distributed.current().topology.size > 1:
                    error.add_note(f"in {type(callback).__name__}.{hook}, run on rank 0 for all")
                raise

    def _together(
        self, hook: str, *arguments: Any, logs: Logs | None, with_weights: bool = True
    ) -> None:
        """Runs a hook on the root and sends its changes. Collective."""
        if not self._has(hook):
            return
        if distributed.current().topology.size == 1:
            self._on_root(hook, *arguments, logs=logs)
            return
        changes: dict[str, Any] = {}
        error: BaseException | None = None
        if _is_root():
            try:
                watch = decisions.Watch(self.model, logs, with_weights=with_weights)
                self._on_root(hook, *arguments, logs=logs)
                changes = watch.changes(logs)
            # Any exception: the other ranks wait for an answer.
            except BaseException as caught:
                error, changes = caught, root_failure.describe(caught, hook)
        changes = decisions.share(changes)
        if error is not None:
            raise error
        if "error" in changes:
            raise root_failure.as_on_the_root(changes["error"])
        decisions.follow(self.model, logs, changes, with_weights=with_weights)


def rank_safe(
    callbacks: Sequence[keras.callbacks.Callback], *, averages_metrics: bool = True
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks in order, with those that need it wrapped in `RankSafe`.

    Callbacks of this package and those with an attribute `is_collective = True` are not
    wrapped: they are aware of other ranks.

    Args:
        callbacks: Callbacks for `fit`, the same on all ranks.
        averages_metrics: False if `MetricAverageCallback` comes before all of them.
    """
    result: list[keras.callbacks.Callback] = []
    group: list[keras.callbacks.Callback] = []
    are_averaged = not averages_metrics
    for callback in [*callbacks, None]:
        if callback is not None and not knows_of_ranks(callback):
            group.append(callback)
            continue
        if group:
            result.append(RankSafe(group, averages_metrics=not are_averaged))
            group = []
        if callback is not None:
            result.append(callback)
            are_averaged = are_averaged or isinstance(callback, MetricAverageCallback)
    return result


def _is_root() -> bool:
    return distributed.current().topology.is_root


def _mean_over_ranks(logs: Logs | None) -> Logs:
    """Returns the scalars in the logs of a batch, averaged over the ranks. Collective."""
    names = sorted(name for name, value in (logs or {}).items() if np.ndim(value) == 0)
    ranks = distributed.current()
    if not names or ranks.topology.size == 1:
        return dict(logs or {})
    values = np.array([float((logs or {})[name]) for name in names], np.float64)
    means = ranks.sum_arrays("rank_safe.batch_logs", values) / ranks.topology.size
    return dict(zip(names, means.tolist(), strict=True))
