"""Metrics over the examples of all ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.keras.graph.variables import native_variable


class MetricAverageCallback(keras.callbacks.Callback):
    """Replaces each rank's metrics by those over the examples of all ranks.

    What is added up are the sums and counts inside the metrics, so ranks with more
    examples weigh more, and AUC, precision and recall are right too. A metric of your
    own must keep such state as well. Values that a custom `train_step` returns without
    a metric behind them are averaged over the ranks with equal weight.

    Give it to `fit`, before callbacks that read metrics. `evaluate` called by itself
    returns this rank's metrics, whatever callbacks it has; call `metrics_over_ranks(model)`
    after it.

    Collective: every rank must have this callback in the same position.

    Args:
        device: Accepted for Horovod's sake.
    """

    def __init__(self, device: str = "") -> None:
        super().__init__()
        del device
        self._training: dict[str, float] | None = None
        self._is_in_epoch = False
        self._validation: dict[str, float] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forgets the last epoch."""
        self._is_in_epoch = True
        self._training = None
        self._validation = {}

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the training metrics before validation resets them. Collective."""
        if self._is_in_epoch and self._training is None:
            self._training = metrics_over_ranks(self.model)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Replaces the validation metrics. Collective."""
        if logs is None or not self._is_in_epoch:
            return
        _replace(logs, metrics_over_ranks(self.model), "")
        self._validation = {f"val_{name}": value for name, value in logs.items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replaces the epoch's metrics. Collective."""
        self._is_in_epoch = False
        if logs is None:
            return
        if self._training is None:
            self._training = metrics_over_ranks(self.model)
        _replace(logs, {**self._training, **self._validation}, "val_")


def metrics_over_ranks(model: keras.Model) -> dict[str, float]:
    """Returns the model's metrics over the examples of all ranks.

    Collective: every rank must call this. The metrics' own state is left as it was.
    """
    variables = [
        native_variable(variable) for metric in model.metrics for variable in metric.variables
    ]
    local_values = [variable.numpy() for variable in variables]
    if local_values:
        flat = np.concatenate([value.astype(np.float64).ravel() for value in local_values])
        total = distributed.current().sum_arrays("metric_states", flat)
        parts = np.split(total, np.cumsum([value.size for value in local_values])[:-1])
        for variable, part, value in zip(variables, parts, local_values, strict=True):
            variable.assign(part.reshape(value.shape).astype(value.dtype))
    try:
        results = model.get_metrics_result()
    finally:
        for variable, value in zip(variables, local_values, strict=True):
            variable.assign(value)
    return {name: _plain(value) for name, value in results.items()}


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _replace(logs: dict[str, Any], results: dict[str, Any], done_prefix: str) -> None:
    """Writes results over logs of the same name and averages the others over ranks."""
    others = sorted(
        name
        for name, value in logs.items()
        if name not in results
        and not (done_prefix and name.startswith(done_prefix))
        and np.ndim(value) == 0
    )
    if others:
        values = np.array([float(logs[name]) for name in others], np.float64)
        ranks = distributed.current()
        means = ranks.sum_arrays("other_logs", values) / ranks.topology.size
        logs.update(zip(others, means.tolist(), strict=True))
    logs.update({name: value for name, value in results.items() if name in logs})
