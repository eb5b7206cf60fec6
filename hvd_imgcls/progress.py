"""What one sees of a training while it lasts, and when it stops. None of it communicates."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls.plan import Plan

logger = logging.getLogger(__name__)


class Progress(keras.callbacks.Callback):
    """Says how far a training is: a line every few seconds, whole lines only.

    On all ranks; of a rank that is not the root, the log shows nothing.

    Args:
        plan: The plan of the run.
        metrics_path: Where to write one JSON line per epoch; None writes nothing.
        interval_seconds: Time between two lines, at least.
    """

    def __init__(
        self, plan: Plan, *, metrics_path: Path | None, interval_seconds: float = 3.0
    ) -> None:
        super().__init__()
        self._plan = plan
        self._metrics_path = metrics_path
        self._interval_seconds = interval_seconds
        self._num_batches = 0
        self._epoch = 0
        self._began = self._last_line = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._last_line = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, 0-based."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Says how far the epoch is, if it is time to."""
        self._num_batches += 1
        now = time.monotonic()
        if self._num_batches == 1:
            # The first batch traces and compiles: it says nothing about the speed.
            self._began = now
        if now - self._last_line >= self._interval_seconds:
            self._say(logs or {}, " on this rank")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of the epoch, which are those of all ranks by now."""
        logs = logs or {}
        is_last = self._step == self._plan.num_steps
        if is_last or time.monotonic() - self._last_line >= self._interval_seconds:
            self._say(logs, "")
        if self._metrics_path is not None:
            entry = {"epoch": epoch + 1, "step": self._step, **_finite(logs)}
            entry["images_per_second"] = round(self._images_per_second, 1)
            with self._metrics_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    @property
    def _step(self) -> int:
        """Finished steps."""
        return self._num_batches // self._plan.gradient_accumulation_steps

    @property
    def _images_per_second(self) -> float:
        """Images of all ranks per second, since the first batch was done."""
        elapsed = time.monotonic() - self._began
        images = (self._num_batches - 1) * self._plan.per_rank_batch_size * self._plan.size
        return images / elapsed if elapsed > 0 else 0.0

    def _say(self, logs: dict[str, Any], whose: str) -> None:
        self._last_line = time.monotonic()
        plan, speed = self._plan, self._images_per_second
        values = "  ".join(
            f"{name} {logs[name]:.4f}" for name in ("loss", "accuracy") if name in logs
        )
        remaining = (plan.num_steps - self._step) * plan.global_batch_size
        pace = f"  {speed:,.0f} images/s" if speed else ""
        if speed and remaining:
            pace += f"  {_duration(remaining / speed)} left"
        logger.info(
            "epoch %d/%d  step %d/%d  %s%s%s",
            self._epoch + 1,
            plan.num_epochs,
            self._step,
            plan.num_steps,
            values,
            whose,
            pace,
        )


class StopAfterSteps(keras.callbacks.Callback):
    """Ends a training within an epoch, on all ranks at the same step.

    Args:
        plan: Says when.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._num_left = plan.num_steps * plan.gradient_accumulation_steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops after the last step."""
        self._num_left -= 1
        if self._num_left == 0:
            self.model.stop_training = True


def _finite(logs: dict[str, Any]) -> dict[str, float | None]:
    """Returns values that JSON can hold."""
    numbers = {name: float(value) for name, value in logs.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _duration(seconds: float) -> str:
    """Returns a duration as people say it.

    >>> _duration(3725)
    '1 h 2 min'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
