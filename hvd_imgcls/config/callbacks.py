"""The callbacks that a pipeline lists by `name`.

They run on the root, with metrics over all ranks, and all ranks do what they decide.
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
    """Ends the training when a metric has not improved for a while.

    `keras.callbacks.EarlyStopping`.
    """

    name: Literal["early_stopping"]
    """Which callback this is."""

    monitor: Monitor = "val_loss"
    """The metric: of the training epoch, or with `val_` of the held-out split.

    The latter needs `evaluation.every_epochs`; epochs without an evaluation do not count.
    """

    patience: PositiveInt = 5
    """So many epochs in a row without improvement end the training; of evaluated ones for
    `val_` metrics.
    """

    min_delta: NonNegativeFloat = 0.0
    """A change of no more than this is no improvement."""

    mode: Literal["min", "max"] | None = None
    """Whether low or high values are good. null: low for losses, high for others."""

    restore_best_weights: bool = True
    """Whether the weights at the end are those of the best epoch, or of the last one."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ReduceOnPlateau:
    """Lowers the learning rate when a metric has not improved for a while.

    `keras.callbacks.ReduceLROnPlateau`. For a constant schedule without warmup: others set the
    learning rate of every step themselves.
    """

    name: Literal["reduce_on_plateau"]
    """Which callback this is."""

    monitor: Monitor = "val_loss"
    """The metric: of the training epoch, or with `val_` of the held-out split.

    The latter needs `evaluation.every_epochs`; epochs without an evaluation do not count.
    """

    factor: OpenFraction = 0.1
    """What the learning rate is multiplied by."""

    patience: PositiveInt = 10
    """So many epochs in a row without improvement lower it; of evaluated ones for `val_` metrics.
    """

    min_delta: NonNegativeFloat = 1e-4
    """A change of no more than this is no improvement."""

    mode: Literal["min", "max"] | None = None
    """Whether low or high values are good. null: low for losses, high for others."""

    cooldown: NonNegativeInt = 0
    """Epochs after a reduction that do not count."""

    min_learning_rate: NonNegativeFloat = 0.0
    """The learning rate is not lowered below this."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CsvLogger:
    """Writes the metrics of every epoch as a line of a CSV file in the run directory.

    `keras.callbacks.CSVLogger`. `metrics.jsonl` has the same values in any case. Epochs count
    from 0 here, as Keras has them.
    """

    name: Literal["csv_logger"]
    """Which callback this is."""

    file: NonEmptyStr = "metrics.csv"
    """Name of the file, ending in `.csv`."""

    def __post_init__(self) -> None:
        if "/" in self.file or "\\" in self.file or not self.file.endswith(".csv"):
            raise ValueError("a file name that ends in .csv, without a directory")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ModelCheckpoint:
    """Keeps the best model so far as `checkpoints/best.keras`, its metrics as `best.json` there.

    A plain Keras file, like `model.keras`; nobody ever sees half of it. With `train.ema` it holds
    the weights themselves, not their average.
    """

    name: Literal["model_checkpoint"]
    """Which callback this is."""

    monitor: Monitor = "val_loss"
    """The metric to judge by: of the training epoch, or with `val_` of the held-out split.

    The latter needs `evaluation.every_epochs`; epochs without an evaluation do not count.
    """

    mode: Literal["min", "max"] | None = None
    """Whether low or high values are good. null: low for losses, high for others."""


Callback = Annotated[
    EarlyStopping | ReduceOnPlateau | CsvLogger | ModelCheckpoint,
    pydantic.Field(discriminator="name"),
]


def mode_of(section: EarlyStopping | ReduceOnPlateau | ModelCheckpoint) -> Literal["min", "max"]:
    """Returns whether low or high values of the metric are good."""
    return section.mode or ("min" if section.monitor.endswith("loss") else "max")
