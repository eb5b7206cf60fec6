"""Learning-rate warmup in front of any Keras schedule."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("hvd_imgcls")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Increases linearly from `start` to `peak`, then follows another schedule from its start.

    Gradual warmup: Goyal et al. 2017 (arXiv:1706.02677, section 2.2).

    Args:
        start: Learning rate of the first step.
        peak: Learning rate after the warmup; that of `after` at its step 0.
        warmup_steps: Steps from `start` to `peak`, at least 1.
        after: A schedule that counts from the end of the warmup.
    """

    def __init__(
        self,
        start: float,
        peak: float,
        warmup_steps: int,
        after: keras.optimizers.schedules.LearningRateSchedule,
    ) -> None:
        self.start = start
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.after = after

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the learning rate after `step` completed steps, a scalar, float32."""
        step = tf.cast(step, tf.int64)
        done = tf.cast(step, tf.float32) / self.warmup_steps
        rising = self.start + (self.peak - self.start) * done
        later = tf.cast(self.after(tf.maximum(step - self.warmup_steps, 0)), tf.float32)
        return tf.where(step < self.warmup_steps, rising, later)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "start": self.start,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "after": keras.saving.serialize_keras_object(self.after),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Returns the schedule of these arguments."""
        after = keras.saving.deserialize_keras_object(config["after"])
        return cls(**{**config, "after": after})
