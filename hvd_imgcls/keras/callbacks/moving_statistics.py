"""Averages the moving statistics of batch normalisation over ranks before they are used."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.keras.layers.moving_statistics import average_moving_statistics


class AverageMovingStatisticsCallback(keras.callbacks.Callback):
    """Averages the moving statistics over the ranks before they are used.

    That is, before validation and at the end of every epoch. Pass it to `fit` before
    callbacks that save the model. Ranks are weighted by the number of batches they have seen.
    `SyncBatchNormalization` does not need it: its statistics are those of all ranks.

    Collective: every rank must have this callback in the same position.
    """

    def __init__(self) -> None:
        super().__init__()
        self._num_batches = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts counting."""
        self._num_batches = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts."""
        self._num_batches = batch + 1

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Averages. Collective."""
        self._average()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Averages. Collective."""
        self._average()

    def _average(self) -> None:
        # Before the first batch they are equal on all ranks.
        average_moving_statistics(self.model, weight=float(max(1, self._num_batches)))
