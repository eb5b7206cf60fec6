"""A step from the mean change of the weights over a period, instead of the mean itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.mode_settings import LocalSGD
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class OuterOptimizer:
    """Gradient descent with momentum, whose gradient is what the weights have lost in a period.

    Args:
        settings: Learning rate and momentum.
        variables: The variables.
    """

    def __init__(self, settings: LocalSGD, variables: Sequence[Any]) -> None:
        self._settings = settings
        natives = [native_variable(variable) for variable in variables]
        self._start = [tf.Variable(native.read_value(), trainable=False) for native in natives]
        self._momenta: list[tf.Variable] = []
        if settings.outer_momentum:
            self._momenta = [tf.Variable(tf.zeros_like(n), trainable=False) for n in natives]

    def start(self, variables: Sequence[Any]) -> None:
        """Takes the present values of the variables as those from which a period starts."""
        for start, variable in zip(self._start, variables, strict=True):
            start.assign(native_variable(variable).read_value())

    def changes(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the changes of the weights since the period started, on this rank."""
        return [v - start.read_value() for v, start in zip(values, self._start, strict=True)]

    def step(self, means: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the weights from which the next period starts.

        Args:
            means: The changes, averaged over the ranks.
        """
        moves = list(means)
        if self._momenta:
            momentum = self._settings.outer_momentum
            moves = [
                m.assign(momentum * m + mean) for m, mean in zip(self._momenta, means, strict=True)
            ]
            if self._settings.nesterov:
                moves = [momentum * move + mean for move, mean in zip(moves, means, strict=True)]
        rate = self._settings.outer_learning_rate
        return [
            start.assign_add(rate * move) for start, move in zip(self._start, moves, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Returns the weights from which the period started, and the momenta."""
        return {
            "start": [variable.numpy() for variable in self._start],
            "momenta": [variable.numpy() for variable in self._momenta],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        for name, variables in (("start", self._start), ("momenta", self._momenta)):
            for variable, value in zip(variables, state[name], strict=True):
                variable.assign(np.asarray(value))


def needs_outer_optimizer(settings: ReductionSettings) -> bool:
    """Returns whether changes are averaged, rather than the weights themselves."""
    mode = settings.mode
    return settings.is_lossy or bool(mode.outer_momentum) or mode.outer_learning_rate != 1.0
