"""The `checkpoint` section: when the state of a run is saved, and how much is kept."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.running.callbacks import Monitor
from hvd_imgcls.config.sections import STRICT, PositiveFloat, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KeepBest:
    """Checkpoints that are kept because of a metric."""

    metric: Monitor
    """The metric; the prefix `val_` means the held-out split instead of training.

    `val_` metrics require `evaluation.every_epochs`. Only checkpoints at the end of an epoch have
    metrics: `every_epochs` should be set.
    """

    count: PositiveInt = 1
    """Number of checkpoints with the best values that are kept."""

    mode: Literal["min", "max"] | None = None
    """Whether the metric should decrease or increase. null: `min` for losses, else `max`."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """When the whole state of a run is saved, so that the same command continues it.

    A run is also saved at the end of training, before the evaluation, and when it is stopped by
    SIGTERM, SIGINT or SIGUSR1.
    """

    every_steps: PositiveInt | None = None
    """Steps between two checkpoints. null for none."""

    every_minutes: PositiveFloat | None = 10.0
    """Minutes between two checkpoints. null for none."""

    every_epochs: PositiveInt | None = None
    """Epochs between two checkpoints. null for none."""

    keep_last: PositiveInt = 2
    """Number of most recent checkpoints that are kept."""

    keep_best: KeepBest | None = None
    """Further checkpoints that are kept because of a metric. null for none."""
