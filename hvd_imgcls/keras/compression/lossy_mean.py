"""The mean over the ranks of what is compressed with error feedback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed import ProcessSet
from hvd_imgcls.keras.compression.settings import LossyCompression
from hvd_imgcls.keras.graph.variables import native_variable, variable_path

Residuals = dict[int, tf.Variable]
"""Residuals by the id of the native variable that they belong to."""


class LossyMean(ABC):
    """Averages tensors over the ranks approximately, with the same bits on all ranks.

    Every rank makes the same calls in the same order.

    Args:
        settings: The compression.
        process_set: The participating ranks, at least two.
    """

    def __init__(self, settings: LossyCompression, process_set: ProcessSet) -> None:
        self.settings: Any = settings
        self.process_set = process_set
        self._residuals: Residuals = {}

    @property
    def size(self) -> int:
        """Number of participating ranks."""
        return self.process_set.size() or 1

    def build(self, variables: Sequence[Any], residuals: Residuals | None = None) -> None:
        """Creates the state, eagerly, before the first update.

        Args:
            variables: The variables whose gradients, or changes, are averaged.
            residuals: Those that exist, to be used and completed: of several ways to average the
                same, only one at a time keeps residuals.
        """
        residuals = {} if residuals is None else residuals
        with tf.init_scope():
            for variable in variables:
                if self._can_compress(variable):
                    native = native_variable(variable)
                    if id(native) not in residuals:
                        zeros = tf.zeros(native.shape, native.dtype)
                        residuals[id(native)] = tf.Variable(zeros, trainable=False)
                    self._residuals[id(native)] = residuals[id(native)]

    def compresses(self, variable: Any) -> bool:
        """Returns whether what belongs to this variable, or watched tensor, is compressed."""
        return id(native_variable(variable)) in self._residuals

    def _can_compress(self, variable: Any) -> bool:
        native = native_variable(variable)
        if native.dtype != tf.float32 or len(native.shape) < 2:
            return False
        return not self.settings.excludes(variable_path(variable))

    def mean(
        self,
        tensors: Sequence[tf.Tensor],
        variables: Sequence[Any],
        groups: list[list[int]],
        name: str,
        is_applied: tf.Tensor | bool = True,
    ) -> list[tf.Tensor]:
        """Returns the means over the ranks.

        Collective: every rank must call this.

        Args:
            tensors: Of this rank, float32, of static shapes.
            variables: Their variables, all of which this compresses.
            groups: Indices of the tensors that are sent together.
            name: Prefix of the names of its operations, the same on all ranks.
            is_applied: Whether the means will be used; if not, the residuals remain.
        """
        residuals = [self._residuals[id(native_variable(variable))] for variable in variables]
        corrected = [tensor + r.read_value() for tensor, r in zip(tensors, residuals, strict=True)]
        means: list[Any] = [None] * len(tensors)
        sent: list[Any] = [None] * len(tensors)
        for number, group in enumerate(groups):
            results = self._mean_of_group(
                [corrected[index] for index in group],
                [variables[index] for index in group],
                f"{name}.group_{number}",
            )
            for index, mean, own in zip(group, *results, strict=True):
                means[index], sent[index] = mean, own
        # What is not finite is never applied, and the residual remains as if it had never been.
        is_finite = tf.math.is_finite(tf.add_n([tf.reduce_sum(mean) for mean in means]))
        counts = tf.logical_and(is_finite, is_applied)
        for residual, tensor, own in zip(residuals, corrected, sent, strict=True):
            residual.assign(tf.where(counts, tensor - own, residual))
        return means

    @abstractmethod
    def _mean_of_group(
        self, tensors: list[tf.Tensor], variables: list[Any], name: str
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns the means over the ranks, and what this rank has contributed to them.

        Collective: every rank must call this. The means are those of the contributions, within
        rounding.

        Args:
            tensors: With the residuals added.
            variables: Their variables.
            name: Prefix of the names of its operations.
        """

    @abstractmethod
    def bytes_sent(self, variables: Sequence[Any]) -> int:
        """Returns how many bytes this rank sends for these variables, on average over the ranks."""

    def state(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Returns what is equal on all ranks."""
        del variables
        return {}

    def restore(self, state: dict[str, Any], variables: Sequence[Any]) -> None:
        """Restores the result of `state`."""
        del state, variables

    def residuals(self, variables: Sequence[Any]) -> list[np.ndarray]:
        """Returns the residuals of this rank, for those variables that this compresses."""
        return [r.numpy() for r in self._residuals_of(variables)]

    def restore_residuals(self, residuals: Sequence[np.ndarray], variables: Sequence[Any]) -> None:
        """Restores the result of `residuals`."""
        for variable, value in zip(self._residuals_of(variables), residuals, strict=True):
            variable.assign(value)

    def _residuals_of(self, variables: Sequence[Any]) -> list[tf.Variable]:
        found = (self._residuals.get(id(native_variable(variable))) for variable in variables)
        return [residual for residual in found if residual is not None]


def flat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the values of tensors, one after the other, `[values]`."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def split_like(values: tf.Tensor, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the tensors of which `flat` has made the values."""
    parts = tf.split(values, [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
