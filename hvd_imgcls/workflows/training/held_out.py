"""Evaluates the held-out split during training: exact metrics after some of the epochs."""

from __future__ import annotations

import math
from typing import Any

import keras

from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

VALUES = ("val_loss", "val_top1", "val_balanced_accuracy", "val_roc_auc")
"""The metrics that are added to those of an epoch."""


class HeldOutEvaluation(keras.callbacks.Callback):
    """Adds exact metrics of the held-out split to the metrics of an epoch.

    The metrics are identical on all ranks and, for equal weights, on any number of ranks.
    Metrics that are undefined, or computed from NaN or infinite outputs, are NaN.

    Collective: every rank must have this callback in the same position, after
    `AverageMovingStatisticsCallback` and before callbacks that read the metrics.

    Args:
        run: The run.
        phase: The training.
        every_epochs: Epochs between two evaluations.
    """

    is_collective = True

    def __init__(self, run: Run, phase: Phase, every_epochs: int) -> None:
        super().__init__()
        self._run = run
        self._phase = phase
        self._every_epochs = every_epochs
        self._predict: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates if due. Collective.

        Raises:
            DataError: If an image cannot be read.
        """
        if logs is None or (epoch + 1) % self._every_epochs:
            return
        run = self._run
        run.show("evaluation")
        with self._phase.whole_model() as model:
            metrics = self._evaluate(model)
        for name in VALUES:
            value = metrics.get(name.removeprefix("val_"))
            if isinstance(value, dict):
                value = value["macro"]
            logs[name] = math.nan if value is None else value

    def _evaluate(self, model: keras.Model) -> dict[str, Any]:
        """Returns the metrics of a whole model. Collective."""
        run = self._run
        predict = self._predict or make_predict(model, run.config.evaluation.views)
        if self._phase.head is None:
            # Kept, because creating it again would retrace the model in every epoch.
            self._predict = predict
        return evaluate_model(
            predict,
            run.source,
            run.config,
            run.plan.evaluation,
            ranks=run.ranks,
            options=EvaluationOptions(with_intervals=False, on_block=run.on_evaluated_block),
        ).metrics
