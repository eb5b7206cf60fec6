"""Metrics over the examples of all ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.distributed.agreement import require_same
from hvd_imgcls.keras.graph.variables import native_variable


class MetricAverageCallback(keras.callbacks.Callback):
    """Replaces each rank's metrics with the metrics over the examples of all ranks.

    The sums and counts inside the metrics are reduced, so ranks with more
    examples have more weight, and AUC, precision and recall are correct as well. Custom
    metrics must keep such state too. Values that a custom `train_step` returns without
    an underlying metric are averaged over the ranks with equal weight; those that only some
    ranks have, such as an entry that a callback of the root adds, are left alone.

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
            self._training = _reduce(self.model, "before validation")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Replaces the validation metrics. Collective."""
        if logs is None or not self._is_in_epoch:
            return
        _replace(logs, _reduce(self.model, "after validation"), "")
        self._validation = {f"val_{name}": value for name, value in logs.items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replaces the epoch's metrics. Collective."""
        self._is_in_epoch = False
        if logs is None:
            return
        if self._training is None:
            self._training = _reduce(self.model, "at the end of the epoch")
        _replace(logs, {**self._training, **self._validation}, "val_")


def metrics_over_ranks(model: keras.Model) -> dict[str, float]:
    """Returns the model's metrics over the examples of all ranks.

    Collective: every rank must call this. The state of the metrics is unchanged.

    Raises:
        RankMismatchError: On all ranks, if they have different metrics.
    """
    return _reduce(model, "in metrics_over_ranks")


def _reduce(model: keras.Model, when: str) -> dict[str, float]:
    """See `metrics_over_ranks`; `when` is compared, for ranks that are elsewhere."""
    ranks = distributed.current()
    if ranks.topology.size > 1:
        metrics = [
            [type(metric).__name__, *(list(variable.shape) for variable in metric.variables)]
            for metric in model.metrics
        ]
        require_same(
            ranks,
            {"metrics are reduced": when, "metric": metrics},
            fix="compile every rank with the same metrics, and validate on all ranks or on none",
        )
    variables = [
        native_variable(variable) for metric in model.metrics for variable in metric.variables
    ]
    local_values = [variable.numpy() for variable in variables]
    if local_values:
        flat = np.concatenate([value.astype(np.float64).ravel() for value in local_values])
        total = ranks.sum_arrays("metric_states", flat)
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
    """Replaces logs with results of the same name, and averages the others over ranks.

    Values that only some ranks have are left alone.
    """
    others = sorted(
        name
        for name, value in logs.items()
        if name not in results
        and not (done_prefix and name.startswith(done_prefix))
        and np.ndim(value) == 0
    )
    ranks = distributed.current()
    if ranks.topology.size > 1:
        on_all = set.intersection(*map(set, ranks.gather_json(others)))
        others = [name for name in others if name in on_all]
    if others:
        values = np.array([float(logs[name]) for name in others], np.float64)
        means = ranks.sum_arrays("other_logs", values) / ranks.topology.size
        logs.update(zip(others, means.tolist(), strict=True))
    logs.update({name: value for name, value in results.items() if name in logs})
