"""Delayed: the gradients of an update travel while those of the next are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.mode import Formula
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class Delayed(Allreduce):
    """Reduces the gradients of the step before.

    They are in variables, and so the reduction needs nothing of this step: TensorFlow starts it
    with the forward pass.
    """

    may_skip = True

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        super().__init__(settings, name)
        self._variables: list[Any] = []
        self._pending: dict[int, tf.Variable] = {}
        # Gradients of the step before and of this one, in the step that is being traced.
        self._traced: list[tuple[tf.Tensor, tf.Tensor]] = []

    def build(self, variables: Sequence[Any], slots: Sequence[Any] = ()) -> None:
        """See `SynchronizationMode.build`."""
        super().build(variables, slots)
        self._variables = list(variables)
        with tf.init_scope():
            self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
            for variable in variables:
                native = native_variable(variable)
                zeros = tf.zeros(native.shape, native.dtype)
                self._pending[id(native)] = tf.Variable(zeros, trainable=False)

    def reduce(
        self, gradients: list[tf.Tensor], variables: list[Any], groups: list[list[int]]
    ) -> list[tf.Tensor]:
        """See `SynchronizationMode.reduce`. Collective: every rank must call this."""
        pending = [self._pending[id(native_variable(variable))] for variable in variables]
        before = [tf.cast(p.read_value(), g.dtype) for p, g in zip(pending, gradients, strict=True)]
        self._traced = list(zip(before, gradients, strict=True))
        reduced = self._reduce_one(before, gradients, variables, groups)
        with tf.control_dependencies(before):
            for variable, gradient in zip(pending, gradients, strict=True):
                variable.assign(tf.cast(gradient, variable.dtype))
        self._steps.assign_add(1)
        return reduced

    def _reduce_one(
        self,
        before: list[tf.Tensor],
        gradients: list[tf.Tensor],
        variables: list[Any],
        groups: list[list[int]],
    ) -> list[tf.Tensor]:
        """Reduces the gradients of the step before, or in the warm-up those of this one."""
        warmup_steps = self.settings.mode.warmup_steps
        if not warmup_steps:
            return super().reduce(before, variables, groups)
        reduced: list[tf.Tensor] = tf.cond(
            self._steps.read_value() >= warmup_steps,
            # What the last step of the warm-up has sent is not applied again: see `has_update`.
            lambda: self.averaging.reduce(
                before,
                variables,
                groups,
                self.name,
                tf.not_equal(self._steps.read_value(), warmup_steps),
            ),
            lambda: self.averaging.reduce(gradients, variables, groups, f"{self.name}.warm_up"),
        )
        return reduced

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Raises a ConfigError: the rows of the step before are not kept."""
        raise ConfigError(
            "mode",
            got="delayed",
            expected="dense gradients",
            fix="pass sparse_as_dense=True, or mode=hvd.Allreduce()",
        )

    def sent(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """See `SynchronizationMode.sent`."""
        del gradients
        # `reduce` has counted this step.
        is_delayed = self._steps.read_value() > self.settings.mode.warmup_steps
        return [tf.where(is_delayed, before, gradient) for before, gradient in self._traced]

    def delay(self, updates: int) -> int:
        """See `SynchronizationMode.delay`."""
        return int(updates > self.settings.mode.warmup_steps)

    def has_update(self) -> tf.Tensor:
        """Returns False in the first step whose gradient is delayed."""
        # `reduce` has counted this step.
        return tf.not_equal(self._steps.read_value(), self.settings.mode.warmup_steps + 1)

    def formula(self) -> Formula | None:
        """Returns None: what is applied is not of the gradients of this step."""
        return None

    def state(self) -> dict[str, Any]:
        """See `SynchronizationMode.state`."""
        if not self._pending:
            return {}
        return {"steps": int(self._steps.numpy()), "averaging": super().state()}

    def restore(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore`."""
        if state:
            self._steps.assign(state["steps"])
            super().restore(state["averaging"])

    def rank_state(self) -> dict[str, Any]:
        """See `SynchronizationMode.rank_state`."""
        return {**super().rank_state(), "pending": [p.numpy() for p in self._in_order()]}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore_rank_state`."""
        super().restore_rank_state(state)
        for variable, value in zip(self._in_order(), state["pending"], strict=True):
            variable.assign(np.asarray(value))

    def _in_order(self) -> list[tf.Variable]:
        return [self._pending[id(native_variable(variable))] for variable in self._variables]
