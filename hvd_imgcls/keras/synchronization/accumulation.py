"""Gradient accumulation over several backward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable


class Accumulation:
    """Accumulates this rank's gradients.

    Args:
        num_passes: Backward passes per update, at least 2.
        averages: Whether to apply the mean of the passes instead of their sum.
    """

    def __init__(self, num_passes: int, *, averages: bool) -> None:
        self.num_passes = num_passes
        self._averages = averages
        with tf.init_scope():
            self._passes = tf.Variable(0, dtype=tf.int64, trainable=False, name="passes")
        self._sums: dict[int, tf.Variable] = {}

    def add(self, gradients: Sequence[Any], variables: Sequence[Any]) -> tf.Tensor:
        """Adds the gradients of one pass; returns whether an update is due, scalar, bool."""
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                total = self._sum_for(variable)
                # Sparse gradients are added to a dense sum: rows of several passes overlap.
                total.assign_add(tf.cast(tf.convert_to_tensor(gradient), total.dtype))
        self._passes.assign_add(1)
        return self._passes.read_value() % self.num_passes == 0

    def totals(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Returns the sum or mean of each variable that has a gradient, None for the others."""
        divisor = self.num_passes if self._averages else 1
        return [
            None if gradient is None else self._sum_for(variable).read_value() / divisor
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def clear(self) -> None:
        """Sets all sums to 0."""
        for total in self._sums.values():
            total.assign(tf.zeros_like(total))

    def state(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Returns the number of passes, and the sums unless they are 0 after an update.

        Args:
            variables: The trainable variables, whose order the sums have.
        """
        passes = int(self._passes.numpy())
        is_cleared = passes % self.num_passes == 0
        sums = [
            None if is_cleared else self._sums.get(id(native_variable(variable)))
            for variable in variables
        ]
        return {
            "passes": passes,
            "sums": [None if total is None else total.numpy() for total in sums],
        }

    def restore(self, state: dict[str, Any], variables: Sequence[Any]) -> None:
        """Restores the result of `state` for these variables."""
        self.clear()
        self._passes.assign(state["passes"])
        for variable, total in zip(variables, state["sums"], strict=True):
            if total is not None:
                self._sum_for(variable).assign(np.asarray(total))

    def _sum_for(self, variable: Any) -> tf.Variable:
        native = native_variable(variable)
        if id(native) not in self._sums:
            with tf.init_scope():
                # Not zeros_like: a variable of a model under construction has no value.
                zeros = tf.zeros(native.shape, native.dtype)
                self._sums[id(native)] = tf.Variable(zeros, trainable=False)
        return self._sums[id(native)]
