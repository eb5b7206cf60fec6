"""The callbacks that a pipeline lists by `name`.

They run on the root with metrics over all ranks; their decisions apply to all ranks.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    NonEmptyStr,
    NonNegativeFloat,
    NonNegativeInt,
    OpenFraction,
    PositiveInt,
)

Monitor = Literal[
    "loss", "accuracy", "val_loss", "val_top1", "val_balanced_accuracy", "val_roc_auc"
]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """Stops training when a metric has stopped improving.

    `keras.callbacks.EarlyStopping`.
    """

    name: Literal["early_stopping"]
    """Name of the callback."""

    monitor: Monitor = "val_loss"
    """The metric to monitor; the prefix `val_` means the held-out split instead of training.

    `val_` metrics require `evaluation.every_epochs`; epochs without evaluation do not count.
    """

    patience: PositiveInt = 5
    """Consecutive epochs without improvement after which training stops.

    For `val_` metrics only epochs with an evaluation count.
    """

    min_delta: NonNegativeFloat = 0.0
    """Minimum change that counts as an improvement."""

    mode: Literal["min", "max"] | None = None
    """Whether the metric should decrease or increase. null: `min` for losses, else `max`."""

    restore_best_weights: bool = True
    """Whether to restore the weights of the best epoch at the end, or keep the last ones."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ReduceOnPlateau:
    """Reduces the learning rate when a metric has stopped improving.

    `keras.callbacks.ReduceLROnPlateau`. Requires a constant schedule without warmup: others set
    the learning rate at every step.
    """

    name: Literal["reduce_on_plateau"]
    """Name of the callback."""

    monitor: Monitor = "val_loss"
    """The metric to monitor; the prefix `val_` means the held-out split instead of training.

    `val_` metrics require `evaluation.every_epochs`; epochs without evaluation do not count.
    """

    factor: OpenFraction = 0.1
    """Factor by which the learning rate is multiplied."""

    patience: PositiveInt = 10
    """Consecutive epochs without improvement after which the learning rate is reduced.

    For `val_` metrics only epochs with an evaluation count.
    """

    min_delta: NonNegativeFloat = 1e-4
    """Minimum change that counts as an improvement."""

    mode: Literal["min", "max"] | None = None
    """Whether the metric should decrease or increase. null: `min` for losses, else `max`."""

    cooldown: NonNegativeInt = 0
    """Epochs to wait after a reduction before monitoring resumes."""

    min_learning_rate: NonNegativeFloat = 0.0
    """Lower bound of the learning rate."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CsvLogger:
    """Writes the metrics of every epoch to a CSV file in the run directory.

    `keras.callbacks.CSVLogger`. `metrics.jsonl` always holds the same values. Epochs are counted
    from 0, as in Keras.
    """

    name: Literal["csv_logger"]
    """Name of the callback."""

    file: NonEmptyStr = "metrics.csv"
    """File name, ending in `.csv`."""

    def __post_init__(self) -> None:
        if "/" in self.file or "\\" in self.file or not self.file.endswith(".csv"):
            raise ValueError("a file name ending in .csv, without a directory")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ModelCheckpoint:
    """Saves the best model so far as `checkpoints/best.keras`, and its metrics as `best.json`.

    A plain Keras file like `model.keras`, written atomically. With `train.ema` it holds the raw
    weights, not their average.
    the weights themselves, not their average.
    """

    name: Literal["model_checkpoint"]
    """Name of the callback."""

    monitor: Monitor = "val_loss"
    """The metric to monitor; the prefix `val_` means the held-out split instead of training.

    `val_` metrics require `evaluation.every_epochs`; epochs without evaluation do not count.
    """

    mode: Literal["min", "max"] | None = None
    """Whether the metric should decrease or increase. null: `min` for losses, else `max`."""


Callback = Annotated[
    EarlyStopping | ReduceOnPlateau | CsvLogger | ModelCheckpoint,
    pydantic.Field(discriminator="name"),
]


def mode_of(section: EarlyStopping | ReduceOnPlateau | ModelCheckpoint) -> Literal["min", "max"]:
    """Returns whether lower or higher values of the metric are better."""
    return section.mode or mode_for(section.monitor)


def mode_for(monitor: str) -> Literal["min", "max"]:
    """Returns whether lower or higher values of a metric are better, by its name."""
    return "min" if monitor.endswith("loss") else "max"
