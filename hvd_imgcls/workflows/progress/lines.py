"""Numbers as people read them. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")
"""Metrics that a line of progress shows, where there are any."""


def progress_line(
    *,
    epoch: int,
    num_epochs: int,
    step: int,
    num_steps: int,
    logs: Mapping[str, Any],
    is_of_this_rank: bool,
    images_per_second: float | None,
    seconds_left: float | None,
    waiting: Mapping[str, float | None],
) -> str:
    """Returns how far a training is.

    >>> progress_line(epoch=1, num_epochs=3, step=4, num_steps=30, logs={"loss": 0.5},
    ...     is_of_this_rank=True, images_per_second=51.2, seconds_left=42.0,
    ...     waiting={"data": 0.031, "exchange": None})
    'epoch 1/3  step 4/30  loss 0.5000 on this rank  51 images/s  42 s left  waiting: data 3 %'

    Args:
        epoch: 1-based.
        num_epochs: Of the run.
        step: Finished steps.
        num_steps: Of the run.
        logs: Metrics by name.
        is_of_this_rank: Whether the metrics are those of one rank.
        images_per_second: Of all ranks; None says nothing.
        seconds_left: Until the last step; None says nothing.
        waiting: Shares of the time, 0 .. 1, by what was waited for; None says nothing.
    """
    parts = [f"epoch {epoch}/{num_epochs}", f"step {step}/{num_steps}"]
    parts += [f"{name} {logs[name]:.4f}" for name in SHOWN if name in logs]
    if is_of_this_rank and logs:
        parts[-1] += " on this rank"
    if images_per_second is not None:
        parts.append(f"{images_per_second:,.0f} images/s")
    if seconds_left:
        parts.append(f"{duration(seconds_left)} left")
    shares = [f"{what} {percent(share)}" for what, share in waiting.items() if share is not None]
    if shares:
        parts.append(f"waiting: {', '.join(shares)}")
    return "  ".join(parts)


def percent(share: float) -> str:
    """Returns a share as people say it.

    >>> percent(0.1234), percent(0.0)
    ('12 %', '0 %')
    """
    return f"{share * 100:.0f} %"


def duration(seconds: float) -> str:
    """Returns a duration as people say it.

    >>> duration(3725)
    '1 h 2 min'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
