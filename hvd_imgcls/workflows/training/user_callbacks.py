"""The callbacks configured in the pipeline and passed by the program."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.config.running.callbacks import (
    Callback,
    CsvLogger,
    EarlyStopping,
    ReduceOnPlateau,
    mode_of,
)
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.keras.saving import write_portable
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.workflows.training.held_out import VALUES
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)


def configured_callbacks(
    run: Run, given: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks of the pipeline and those of the program, safe on several ranks.

    Collective: every rank must call this.

    Args:
        run: The run.
        given: The user's own callbacks.

    Raises:
        RankMismatchError: If the callbacks differ between ranks.
        ConfigError: If one of them cannot work on several ranks.
    """
    distributed.agreement.require_same(
        run.collectives,
        {"train(callbacks)": [type(callback).__name__ for callback in given]},
        "pass the same callbacks on every rank; they run on the root",
    )
    if any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in given):
        raise ConfigError(
            "train(callbacks)",
            got="BackupAndRestore, which chooses the first epoch of fit",
            expected="callbacks that leave it to the plan of the run",
            fix="use ModelCheckpoint or the callback model_checkpoint of the configuration",
        )
    configured = [_make(section, run) for section in run.config.callbacks]
    return hvd.callbacks.rank_safe([*configured, *given], averages_metrics=False)


def _make(section: Callback, run: Run) -> keras.callbacks.Callback:
    """Returns the Keras callback for a section."""
    if isinstance(section, CsvLogger):
        extra = VALUES if run.config.evaluation.every_epochs else ()
        path = str(run.files.path / section.file)
        return _WriteCsv(path, extra, append=run.resumed is not None)
    if isinstance(section, EarlyStopping):
        return _StopEarly(
            monitor=section.monitor,
            mode=mode_of(section),
            patience=section.patience,
            min_delta=section.min_delta,
            restore_best_weights=section.restore_best_weights,
        )
    if isinstance(section, ReduceOnPlateau):
        return _LowerOnPlateau(
            monitor=section.monitor,
            mode=mode_of(section),
            factor=section.factor,
            patience=section.patience,
            min_delta=section.min_delta,
            cooldown=section.cooldown,
            min_lr=section.min_learning_rate,
        )
    return _KeepBest(section.monitor, mode_of(section), run.files)


class _OnlyWithMetric:
    """Skips epochs without a value of the metric, without a warning for each."""

    monitor: str

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.monitor in (logs or {}):
            super().on_epoch_end(epoch, logs)  # type: ignore[misc]


class _StopEarly(_OnlyWithMetric, keras.callbacks.EarlyStopping):
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_end(logs)
        restored = " (its weights are restored)" if self.restore_best_weights else ""
        if self.stopped_epoch:
            logger.info(
                "stopped after epoch %d: the best %s was that of epoch %d, %.4f%s",
                self.stopped_epoch + 1,
                self.monitor,
                self.best_epoch + 1,
                self.best,
                restored,
            )


class _LowerOnPlateau(_OnlyWithMetric, keras.callbacks.ReduceLROnPlateau):
    pass


class _WriteCsv(keras.callbacks.CSVLogger):
    """Adds columns for metrics that may be missing in the first epoch.

    Args:
        path: The file.
        extra: Names of these metrics.
        append: Whether to continue the file.
    """

    def __init__(self, path: str, extra: Sequence[str], *, append: bool) -> None:
        super().__init__(path, append=append)
        self._extra = extra

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {**dict.fromkeys(self._extra, "NA"), **(logs or {})}
        if self.writer is None:
            # Keras would add a `val_` column for each.
            self.keys: list[str] | None = sorted(values)
        super().on_epoch_end(epoch, values)


class _KeepBest(keras.callbacks.Callback):
    """Saves the model of the epoch with the best metric.

    Args:
        monitor: Name of the metric.
        mode: "min" or "max".
        files: The run directory.
    """

    def __init__(self, monitor: str, mode: str, files: RunDir) -> None:
        super().__init__()
        self._monitor = monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self._files = files
        self._best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        value = values.get(self._monitor, math.nan)
        if not math.isfinite(value):
            return
        if self._best is not None and self._sign * value <= self._sign * self._best:
            return
        self._best = value
        self._files.best_model.parent.mkdir(exist_ok=True)
        write_portable(self._files.best_model, self.model)
        finite = {name: one if math.isfinite(one) else None for name, one in values.items()}
        write_json(self._files.best_metrics, {"epoch": epoch + 1, **finite})
