"""Formats numbers for progress lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.text.numbers import duration, percent

SHOWN = ("loss", "accuracy", "val_loss", "val_top1", "val_accuracy")
"""Metrics shown in progress lines, if available, besides those that callbacks monitor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingStatus:
    """Progress of a training phase.

    Attributes:
        epoch: 1-based.
        num_epochs: Epochs in the run.
        step: Completed steps.
        num_steps: Steps in the run.
        logs: Metrics by name.
        is_of_this_rank: Whether the metrics are those of one rank.
        images_per_second: Throughput of all ranks; None if unknown.
        seconds_left: Time until the last step; None if unknown.
        waiting: Fractions of time, 0 to 1, by reason of waiting; None if unknown.
        monitored: Names of metrics that are shown besides `SHOWN`.
        parts: Examples of every rank in the last step, if they can change.
    """

    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    logs: Mapping[str, Any]
    is_of_this_rank: bool
    images_per_second: float | None
    seconds_left: float | None
    waiting: Mapping[str, float | None]
    monitored: Sequence[str] = ()
    parts: Sequence[int] = ()


def progress_line(status: TrainingStatus) -> str:
    """Formats the progress of a phase on one line.

    >>> progress_line(TrainingStatus(epoch=1, num_epochs=3, step=4, num_steps=30,
    ...     logs={"loss": 0.5}, is_of_this_rank=True, images_per_second=51.2, seconds_left=42.0,
    ...     waiting={"data": 0.031, "allreduce": None}))
    'epoch 1/3  step 4/30  loss 0.5000 on this rank  51 images/s  42 s left  waiting: data 3 %'
    """
    logs = status.logs
    parts = [f"epoch {status.epoch}/{status.num_epochs}", f"step {status.step}/{status.num_steps}"]
    names = dict.fromkeys((*SHOWN, *status.monitored))
    parts += [f"{name} {logs[name]:.4f}" for name in names if name in logs]
    if status.is_of_this_rank and logs:
        parts[-1] += " on this rank"
    if status.images_per_second is not None:
        parts.append(f"{status.images_per_second:,.0f} images/s")
    if status.seconds_left:
        parts.append(f"{duration(status.seconds_left)} left")
    fractions = [
        f"{what} {percent(fraction)}"
        for what, fraction in status.waiting.items()
        if fraction is not None
    ]
    if fractions:
        parts.append(f"waiting: {', '.join(fractions)}")
    return "  ".join(parts)


def rounded(fraction: float | None) -> float | None:
    """Rounds a fraction to four digits, for files."""
    return None if fraction is None else round(fraction, 4)
