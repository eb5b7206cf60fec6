"""Metrics over the examples of all ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.keras.graph.variables import native_variable


class MetricAverageCallback(keras.callbacks.Callback):
    """Replaces each rank's metrics with the metrics over the examples of all ranks.

    The sums and counts inside the metrics are reduced, so ranks with more
    examples have more weight, and AUC, precision and recall are correct as well. Custom
    metrics must keep such state too. Values that a custom `train_step` returns without
    an underlying metric are averaged over the ranks with equal weight.

    Pass it to `fit`, before callbacks that read metrics. `evaluate` on its own
    returns this rank's metrics, regardless of its callbacks; call `metrics_over_ranks(model)`
    after it.

    Collective: every rank must have this callback in the same position.

    Args:
        device: Accepted for compatibility with Horovod.
    """

    def __init__(self, device: str = "") -> None:
        super().__init__()
        del device
        self._training: dict[str, float] | None = None
        self._is_in_epoch = False
        self._validation: dict[str, float] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Resets the state of the last epoch."""
        self._is_in_epoch = True
        self._training = None
        self._validation = {}

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Stores the training metrics before validation resets them. Collective."""
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

    Collective: every rank must call this. The state of the metrics is unchanged.
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
        # Read before the local state is restored: a result may be a variable of its metric.
        return {name: _plain(value) for name, value in model.get_metrics_result().items()}
    finally:
        for variable, value in zip(variables, local_values, strict=True):
            variable.assign(value)


def _plain(value: Any) -> Any:
    array = np.array(value)  # a copy: the array of a variable may share its memory
    return float(array) if array.ndim == 0 else array


def _replace(logs: dict[str, Any], results: dict[str, Any], done_prefix: str) -> None:
    """Replaces logs with results of the same name, and averages the others over ranks."""
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
