"""Evaluates the held-out split during training, and a phase whole or by parts."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import keras

from hvd_imgcls.config.reading.class_sharding import evaluates_by_example
from hvd_imgcls.keras.class_sharding.results import ResultsFromParts
from hvd_imgcls.metrics import Evaluated
from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

VALUES = ("val_loss", "val_top1", "val_balanced_accuracy", "val_roc_auc")
"""The metrics that are added to those of an epoch."""


class PhaseEvaluation:
    """Evaluates a phase, once or several times.

    Args:
        run: The run.
        phase: The training.
    """

    def __init__(self, run: Run, phase: Phase) -> None:
        self._run = run
        self._phase = phase
        self._from_parts: ResultsFromParts | None = None
        if phase.head is not None and evaluates_by_example(run.config):
            self._from_parts = ResultsFromParts(phase.head.part)
        self._predict: Any = None

    def model(self) -> contextlib.AbstractContextManager[keras.Model]:
        """Returns a context manager that yields what `evaluate` needs. Collective."""
        if self._from_parts is not None:
            return contextlib.nullcontext(self._phase.model)
        return self._phase.whole_model()

    def evaluate(self, model: keras.Model, options: EvaluationOptions) -> Evaluated:
        """Evaluates. Collective: every rank must call this.

        Args:
            model: The whole model; only read if its last layer is not evaluated by parts.
            options: What else is done.
        """
        run, is_parted = self._run, self._from_parts is not None
        predict = self._predict or make_predict(
            self._phase.model if is_parted else model, run.config.evaluation.views
        )
        if self._phase.head is None or is_parted:
            # Kept, because creating it again would retrace the model in every epoch.
            self._predict = predict
        return evaluate_model(
            predict,
            run.source,
            run.config,
            run.plan.evaluation,
            ranks=run.ranks,
            options=dataclasses.replace(options, from_parts=self._from_parts),
        )


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
        self._evaluation = PhaseEvaluation(run, phase)
        self._every_epochs = every_epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates if due. Collective.

        Raises:
            DataError: If an image cannot be read.
        """
        if logs is None or (epoch + 1) % self._every_epochs:
            return
        run = self._run
        run.show("evaluation")
        options = EvaluationOptions(with_intervals=False, on_block=run.on_evaluated_block)
        with self._evaluation.model() as model:
            metrics = self._evaluation.evaluate(model, options).metrics
        for name in VALUES:
            value = metrics.get(name.removeprefix("val_"))
            if isinstance(value, dict):
                value = value["macro"]
            logs[name] = math.nan if value is None else value
