"""Local SGD: ranks step on their own and average their weights from time to time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.averaging import Averaging
from hvd_imgcls.keras.synchronization.grouping import buckets, by_dtype
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.outer_optimizer import OuterOptimizer, needs_outer_optimizer
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class LocalSGD(SynchronizationMode):
    """Averages the weights, or their changes, after every period."""

    reduces_to_equal = False

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        super().__init__(settings, name)
        self._changes = Averaging(settings)
        self._exact = Averaging(dataclasses.replace(settings, compression=Compression.none))
        self._variables: list[Any] = []
        self._slots: list[Any] = []
        self._outer: OuterOptimizer | None = None

    @property
    def keeps_optimizer_state(self) -> bool:  # type: ignore[override]
        """See `SynchronizationMode.keeps_optimizer_state`."""
        return bool(self.settings.mode.optimizer_state == "keep")

    @property
    def num_common(self) -> int:
        """Number of updates, at the beginning, that apply the mean gradient of all ranks.

        At least one: only after the first are the weights certainly equal on all ranks.
        """
        return max(1, self.settings.mode.warmup_steps)

    def build(self, variables: Sequence[Any], slots: Sequence[Any] = ()) -> None:
        """See `SynchronizationMode.build`."""
        self._variables = list(variables)
        self._slots = [slot for slot in slots if native_variable(slot).dtype.is_floating]
        self._changes.build(variables)
        with tf.init_scope():
            self._updates = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._averaged = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._num_averagings = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._drift = tf.Variable(0.0, trainable=False)
            if needs_outer_optimizer(self.settings):
                self._outer = OuterOptimizer(self.settings.mode, variables)

    def reduce(
        self, gradients: list[tf.Tensor], variables: list[Any], groups: list[list[int]]
    ) -> list[tf.Tensor]:
        """Returns the gradients of this rank; in the warm-up, the means of all ranks.

        Collective: every rank must call this.
        """
        result: list[tf.Tensor] = tf.cond(
            self._updates.read_value() < self.num_common,
            lambda: self._means(gradients, groups, f"{self.name}.warm_up"),
            lambda: [tf.identity(gradient) for gradient in gradients],
        )
        return result

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Raises a ConfigError: sparse gradients have no mean in the warm-up."""
        raise ConfigError(
            "mode", got="local_sgd", expected="dense gradients", fix="pass sparse_as_dense=True"
        )

    def after_update(self, update: tf.Tensor, variables: Sequence[Any]) -> None:
        """Averages if a period ends. Collective: every rank must call this."""
        self._updates.assign(update)
        done = update - self.num_common

        def average() -> tf.Tensor:
            self._average(update)
            return tf.constant(True)

        def start() -> tf.Tensor:
            # The weights are equal; from here on the ranks step on their own.
            if self._outer is not None:
                self._outer.start(self._variables)
            self._averaged.assign(update)
            return tf.constant(True)

        is_due = tf.logical_and(done > 0, tf.equal(done % self.settings.mode.period, 0))
        tf.cond(is_due, average, lambda: tf.cond(done <= 0, start, lambda: tf.constant(False)))

    def are_ranks_equal(self, updates: tf.Tensor) -> tf.Tensor | bool:
        """See `SynchronizationMode.are_ranks_equal`."""
        return tf.equal(updates, self._averaged.read_value())

    def is_settled(self) -> bool:
        """See `SynchronizationMode.is_settled`."""
        return not self._variables or int(self._updates) == int(self._averaged)

    def settle(self, variables: Sequence[Any]) -> None:
        """Averages unless the weights are equal. Collective: every rank must call this."""
        del variables
        if not self.is_settled():
            self._average(self._updates.read_value())

    def _average(self, update: tf.Tensor) -> None:
        """Makes the weights equal. Collective."""
        natives = [native_variable(variable) for variable in self._variables]
        values = [native.read_value() for native in natives]
        groups = by_dtype(buckets(values), values)
        if self._outer is None:
            new = self._means(values, groups, f"{self.name}.weights")
        else:
            changes = self._outer.changes(values)
            means = self._changes.reduce(changes, self._variables, groups, f"{self.name}.changes")
            new = self._outer.step(means)
        self._drift.assign(_distance(values, new))
        for native, value in zip(natives, new, strict=True):
            native.assign(value)
        if not self.keeps_optimizer_state and self._slots:
            self._average_slots()
        self._averaged.assign(update)
        self._num_averagings.assign_add(1)

    def _average_slots(self) -> None:
        slots = [native_variable(slot) for slot in self._slots]
        values = [slot.read_value() for slot in slots]
        means = self._means(values, by_dtype(buckets(values), values), f"{self.name}.slots")
        for slot, mean in zip(slots, means, strict=True):
            slot.assign(mean)

    def _means(
        self, tensors: list[tf.Tensor], groups: list[list[int]], name: str
    ) -> list[tf.Tensor]:
        """Returns the means over the ranks, not compressed. Collective."""
        return self._exact.reduce(tensors, (), groups, name)

    def bytes_sent(self, updates: int) -> int:
        """See `SynchronizationMode.bytes_sent`."""
        if not self._variables:
            return 0
        plain = self._exact
        plain.build(self._variables)
        averagings = int(self._num_averagings)
        total = plain.bytes_sent(min(updates, self.num_common))
        total += self._changes.bytes_sent(averagings)
        if not self.keeps_optimizer_state:
            plain.build(self._slots)
            total += plain.bytes_sent(averagings)
        return total

    def drift(self) -> float | None:
        """See `SynchronizationMode.drift`."""
        return float(self._drift) if self._variables else None

    def state(self) -> dict[str, Any]:
        """See `SynchronizationMode.state`."""
        if not self._variables:
            return {}
        return {
            "updates": int(self._updates.numpy()),
            "averaged": int(self._averaged.numpy()),
            "averagings": int(self._num_averagings.numpy()),
            "changes": self._changes.state(),
            "outer": None if self._outer is None else self._outer.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore`."""
        if not state:
            return
        self._updates.assign(state["updates"])
        self._averaged.assign(state["averaged"])
        self._num_averagings.assign(state["averagings"])
        self._changes.restore(state["changes"])
        if self._outer is not None:
            self._outer.restore(state["outer"])

    def rank_state(self) -> dict[str, Any]:
        """See `SynchronizationMode.rank_state`."""
        kept = self._slots if self.keeps_optimizer_state else []
        return {
            **self._changes.rank_state(),
            "slots": [native_variable(slot).numpy() for slot in kept],
        }

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore_rank_state`."""
        self._changes.restore_rank_state(state)
        kept = self._slots if self.keeps_optimizer_state else []
        for slot, value in zip(kept, state["slots"], strict=True):
            native_variable(slot).assign(np.asarray(value))


def _distance(values: Sequence[tf.Tensor], means: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the norm of the differences, relative to that of the means, scalar, float32."""
    differences = [
        tf.reduce_sum(tf.square(tf.cast(value - mean, tf.float32)))
        for value, mean in zip(values, means, strict=True)
    ]
    sizes = [tf.reduce_sum(tf.square(tf.cast(mean, tf.float32))) for mean in means]
    return tf.sqrt(tf.math.divide_no_nan(tf.add_n(differences), tf.add_n(sizes)))
