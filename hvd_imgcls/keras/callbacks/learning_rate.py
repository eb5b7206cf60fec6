"""Learning rate by epoch, and warmup from the rate of one rank to that of all ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.variables import native_variable


class LearningRateScheduleCallback(keras.callbacks.Callback):
    """Sets the learning rate to `initial_lr * multiplier` between two epochs.

    Momentum correction (Goyal et al. 2017, arXiv:1706.02677, section 3, remark 2): the
    velocity of SGD contains the learning rate of earlier steps, so it is rescaled by
    new / old rate when the rate changes.

    Args:
        initial_lr: Learning rate that the multiplier refers to.
        multiplier: A constant, for exponential decay `multiplier ** (epoch - start_epoch)`,
            or a function of the epoch.
        start_epoch: First epoch, 0-based, to which this applies.
        end_epoch: First epoch to which it no longer applies; None for no end.
        staircase: Whether to change the rate only at the start of epochs; otherwise at every
            batch, with the fractional epoch `epoch + batch / steps_per_epoch`.
        momentum_correction: Whether to rescale the velocity.
        steps_per_epoch: Batches per epoch. Defaults to the value known to `fit`.

    Raises:
        ConfigError: If `initial_lr` is None, or at the start of training if the number
            of steps is needed but unknown, or if the optimizer has its own schedule.
    """

    def __init__(
        self,
        initial_lr: float,
        multiplier: float | Callable[[float], float],
        start_epoch: int = 0,
        end_epoch: int | None = None,
        staircase: bool = True,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        if initial_lr is None:
            raise ConfigError(
                "initial_lr", got=None, expected="a learning rate", fix="pass the optimizer's"
            )
        self.initial_lr = initial_lr
        self.start_epoch = start_epoch
        self.end_epoch = end_epoch
        self.staircase = staircase
        self.momentum_correction = momentum_correction
        self.steps_per_epoch = steps_per_epoch
        self._epoch = 0
        if callable(multiplier):
            self.multiplier = multiplier
        else:
            factor = float(multiplier)
            self.multiplier = lambda epoch: factor ** (epoch - start_epoch)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that the learning rate can be set and the number of steps is known."""
        schedule = getattr(self.model.optimizer, "_learning_rate", None)
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ConfigError(
                "optimizer.learning_rate",
                got=type(schedule).__name__,
                expected=f"a number, which {type(self).__name__} sets",
                fix="use either the schedule or the callback",
            )
        if not self.staircase and not (self.steps_per_epoch or self.params.get("steps")):
            raise ConfigError(
                "steps_per_epoch",
                got=None,
                expected="the number of batches per epoch, which this dataset does not provide",
                fix=f"pass steps_per_epoch to {type(self).__name__}",
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the learning rate."""
        if self._epoch < self.start_epoch:
            return
        if self.end_epoch is not None and self._epoch >= self.end_epoch:
            return
        if not self.staircase:
            self._set(self.multiplier(self._epoch + batch / self._num_steps()))
        elif batch == 0:
            self._set(self.multiplier(self._epoch))

    def _num_steps(self) -> int:
        return self.steps_per_epoch or self.params["steps"]

    def _set(self, factor: float) -> None:
        optimizer = self.model.optimizer
        old = np.asarray(optimizer.learning_rate)
        new = self.initial_lr * factor
        if old == old.dtype.type(new):  # rounded as by the optimizer
            return
        optimizer.learning_rate = new
        if self.momentum_correction and old:
            _rescale_velocity(optimizer, new / float(old))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the learning rate to the logs, as `lr`."""
        if logs is not None:
            logs["lr"] = float(np.asarray(self.model.optimizer.learning_rate))


class LearningRateWarmupCallback(LearningRateScheduleCallback):
    """Raises the learning rate from `initial_lr / size` to `initial_lr`.

    Goyal et al. 2017 (arXiv:1706.02677), section 2.2, gradual warmup:
    `lr(epoch) = initial_lr / size * (epoch * (size - 1) / warmup_epochs + 1)`.

    Args:
        initial_lr: The final rate, already scaled with the number of ranks.
        warmup_epochs: Number of warmup epochs.
        momentum_correction: Whether to rescale the velocity.
        steps_per_epoch: Batches per epoch. Defaults to the value known to `fit`.
        verbose: 1 prints a line on the root at the end.
    """

    def __init__(
        self,
        initial_lr: float,
        warmup_epochs: int = 5,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        def multiplier(epoch: float) -> float:
            size = distributed.current().topology.size
            # One batch ahead, as in Horovod, so that an epoch ends on a round number.
            epoch += 1.0 / self._num_steps()
            return (epoch * (size - 1) / warmup_epochs + 1) / size

        super().__init__(
            initial_lr,
            multiplier,
            end_epoch=warmup_epochs,
            staircase=False,
            momentum_correction=momentum_correction,
            steps_per_epoch=steps_per_epoch,
        )
        self.verbose = verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the learning rate to the logs, and reports the end of the warmup."""
        super().on_epoch_end(epoch, logs)
        is_root = distributed.current().topology.is_root
        if self.verbose and is_root and epoch + 1 == self.end_epoch:
            rate = float(np.asarray(self.model.optimizer.learning_rate))
            sys.stdout.write(
                f"\nEpoch {epoch + 1}: finished gradual learning rate warmup to {rate:g}.\n"
            )


def _rescale_velocity(optimizer: Any, factor: float) -> None:
    """Rescales the velocities of SGD with momentum; does nothing for other optimizers.

    `optimizer.momentum` is compiled into the step as a constant, so changing it for one
    step, as Horovod does, would have no effect. Scaling the velocity is equivalent.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, keras.optimizers.SGD) or not inner.momentum or not inner.built:
        return
    for velocity in inner.momentums:
        if velocity is not None:
            native_variable(velocity).assign(native_variable(velocity) * factor)
