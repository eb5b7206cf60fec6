"""Saves the best model, on the root only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.errors import ConfigError


class BestModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """`keras.callbacks.ModelCheckpoint(save_best_only=True)` for several ranks.

    Only the root writes; nevertheless pass it on every rank, after `MetricAverageCallback`,
    so that it monitors the metric over all ranks.

    Args:
        monitor: Metric to monitor.
        verbose: 1 prints a line when a model is saved.
        save_weights_only: Whether to save weights instead of the whole model.
        mode: "min", "max" or "auto".
        save_freq: "epoch" or a number of batches.
        filepath: File to write, ending in `.keras` (`.weights.h5` for weights). May be
            set later, as an attribute, before training.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        filepath: str | Path | None = None,
    ) -> None:
        suffix = ".weights.h5" if save_weights_only else ".keras"
        super().__init__(
            filepath=str(filepath) if filepath else f"unset{suffix}",
            monitor=monitor,
            verbose=verbose,
            save_best_only=True,
            save_weights_only=save_weights_only,
            mode=mode,
            save_freq=save_freq,
        )
        if filepath is None:
            self.filepath = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that `filepath` is set.

        Raises:
            ConfigError: If `filepath` was not set.
        """
        if self.filepath is None:
            raise ConfigError(
                "BestModelCheckpoint.filepath",
                got=None,
                expected="the file to write",
                fix="pass filepath='best.keras' or set the attribute before training",
            )
        super().on_train_begin(logs)

    def _save_model(self, *arguments: Any, **keywords: Any) -> None:
        """Root only: a no-op elsewhere."""
        if distributed.current().topology.is_root:
            super()._save_model(*arguments, **keywords)
