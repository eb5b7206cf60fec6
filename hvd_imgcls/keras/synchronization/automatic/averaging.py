"""Averages tensors compressed or not, whichever was measured to be faster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.checks.non_finite import all_finite
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.compression.lossy_mean import Residuals
from hvd_imgcls.keras.compression.settings import Automatic
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.graph.waiting import time_of
from hvd_imgcls.keras.synchronization.automatic.measured import Measured, reason_for_compression
from hvd_imgcls.keras.synchronization.automatic.trials import NOT_YET, Candidates, Trials
from hvd_imgcls.keras.synchronization.averaging import Averaging
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class AutomaticAveraging:
    """Sums or averages tensors in the way that was the fastest in the first updates.

    One rank alone measures nothing. The ways are measured where they will be used: each in a step
    of its own, right after the backward pass, or during it if there are several groups. What is
    measured compressed is then reduced once more to be applied, so that the measurement
    changes no weight.

    Args:
        settings: Operation, compression (`Automatic`) and process set.
    """

    def __init__(self, settings: ReductionSettings) -> None:
        self._settings = settings
        self._exact = Averaging(dataclasses.replace(settings, compression=Compression.none))
        self._ways = [
            self._exact,
            *(
                Averaging(dataclasses.replace(settings, compression=candidate))
                for candidate in settings.compression.settings_of_candidates()
            ),
        ]
        self._trials = Trials(self._candidates(), settings.process_set)
        self._variables: list[Any] = []
        self._residuals: Residuals = {}

    def _candidates(self) -> Candidates:
        compression: Automatic = self._settings.compression
        names = ("none", *compression.candidates)

        def reason(measured: Measured, choice: int) -> str:
            num_bytes = [way.bytes_sent(1) for way in self._ways]
            return reason_for_compression(measured, names, num_bytes, choice, compression.min_gain)

        return Candidates(
            what="compression",
            names=names,
            rounds=compression.rounds,
            warmup_steps=compression.warmup_steps,
            choose=lambda measured: compression.choose(measured.seconds, measured.step_seconds),
            reason=reason,
        )

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the state of all ways, eagerly, before the first update.

        Args:
            variables: The variables that tensors may belong to.
        """
        if self._settings.size == 1:
            return
        self._variables = list(variables)
        for way in self._ways:
            way.build(variables, self._residuals)
        self._trials.build()
        with tf.init_scope(), tf.device("CPU:0"):
            self._uses = tf.Variable(tf.zeros(len(self._ways), tf.int64), trainable=False)

    def reduce(
        self,
        tensors: Sequence[tf.Tensor],
        variables: Sequence[Any],
        groups: list[list[int]],
        name: str,
        is_applied: tf.Tensor | bool = True,
    ) -> list[tf.Tensor]:
        """Returns the sums or means over the ranks.

        Collective: every rank must call this. Arguments as for `Averaging.reduce`.
        """
        if not tensors:
            return []
        turn, began = self._trials.next(), time_of(tensors)
        counts = tf.logical_and(is_applied, tf.logical_not(turn.is_trial))

        def exact() -> list[tf.Tensor]:
            # No timestamp: no result of a branch is there before all of its stateful operations.
            return [
                *self._exact.reduce(tensors, variables, groups, name),
                tf.zeros([], tf.float64),
            ]

        def compressed_by(number: int) -> Callable[[], list[tf.Tensor]]:
            way, prefix = self._ways[number], f"{name}.{self._trials.names[number]}"

            def compressed() -> list[tf.Tensor]:
                means = way.reduce(tensors, variables, groups, prefix, counts)
                reduced = time_of([*means, *self._some_residual()])
                result: list[tf.Tensor] = tf.cond(
                    turn.is_trial,
                    lambda: self._reduced_again(
                        tensors, variables, groups, f"{prefix}.applied", reduced
                    ),
                    lambda: means,
                )
                return [*result, reduced]

            return compressed

        branches = [exact, *(compressed_by(number) for number in range(1, len(self._ways)))]
        *applied, compressed_at = tf.switch_case(turn.way, branches)
        self._count_use(turn.way)
        ended = time_of(applied)
        reduced = tf.where(turn.way > 0, compressed_at, ended)
        self._trials.end(turn, began, reduced, ended, name)
        return applied

    def _some_residual(self) -> list[tf.Tensor]:
        """Returns a tensor that is ready when the residuals have been written."""
        return [residual.read_value() for residual in list(self._residuals.values())[:1]]

    def _reduced_again(
        self,
        tensors: Sequence[tf.Tensor],
        variables: Sequence[Any],
        groups: list[list[int]],
        name: str,
        after: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Returns what is applied instead of compressed tensors that were measured. Collective.

        With what a compression has left on other ranks, before the measurement began anew.
        """
        self._count_use(tf.constant(0))
        residuals = [self._residuals.get(id(native_variable(variable))) for variable in variables]
        with tf.control_dependencies([after]):
            whole = [
                tf.identity(tensor) if residual is None else tensor + residual.read_value()
                for tensor, residual in zip(tensors, residuals, strict=True)
            ]
        result = self._exact.reduce(whole, variables, groups, name)
        is_finite = all_finite(result)
        for residual in residuals:
            if residual is not None:
                residual.assign(tf.where(is_finite, tf.zeros_like(residual), residual))
        return result

    def _count_use(self, way: tf.Tensor) -> None:
        self._uses.assign_add(tf.one_hot(way, len(self._ways), dtype=tf.int64))

    def chosen(self) -> dict[str, Any]:
        """See `SynchronizationMode.chosen`."""
        if not self._variables or self._trials.chosen() == NOT_YET:
            return {}
        return {"compression": self._trials.names[self._trials.chosen()]}

    def bytes_sent(self, reductions: int) -> int:
        """Returns how many bytes a rank has sent, on average over the ranks.

        See `Averaging.bytes_sent`. With those of measurements.

        Args:
            reductions: Not used: reductions in each way are counted.
        """
        del reductions
        if not self._variables:
            return 0
        uses = self._uses.numpy().tolist()
        return sum(way.bytes_sent(1) * used for way, used in zip(self._ways, uses, strict=True))

    def state(self) -> dict[str, Any]:
        """Returns the state that is equal on all ranks."""
        if not self._variables:
            return {}
        return {
            "trials": self._trials.state(),
            "uses": self._uses.numpy().tolist(),
            "ways": [way.state() for way in self._ways],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`. Collective: every rank must call this."""
        if not self._variables or not state:
            return
        self._trials.restore(state["trials"])
        self._uses.assign(state["uses"])
        for way, one in zip(self._ways, state["ways"], strict=True):
            way.restore(one)

    def rank_state(self) -> dict[str, Any]:
        """Returns what compression has taken from the tensors of this rank, and its times."""
        if not self._variables:
            return {}
        kept = self._kept() if self._trials.chosen() != 0 else []
        return {"residuals": [one.numpy() for one in kept], "times": [self._trials.times()]}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """Restores the result of `rank_state`, or the means over the ranks."""
        if not self._variables or not state:
            return
        self._trials.restore_times(state["times"][0])
        residuals = self._kept()
        values = state["residuals"] or [np.zeros(one.shape, np.float32) for one in residuals]
        for residual, value in zip(residuals, values, strict=True):
            residual.assign(value)

    def _kept(self) -> list[tf.Variable]:
        found = (self._residuals.get(id(native_variable(one))) for one in self._variables)
        return [residual for residual in found if residual is not None]
