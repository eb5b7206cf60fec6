"""Averages tensors in as many groups as were measured to be faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.compression.settings import fastest
from hvd_imgcls.keras.graph.waiting import time_of
from hvd_imgcls.keras.synchronization.automatic.measured import Measured, reason_for_groups
from hvd_imgcls.keras.synchronization.automatic.trials import NOT_YET, Candidates, Trials
from hvd_imgcls.keras.synchronization.averaging import Averaging
from hvd_imgcls.keras.synchronization.grouping import make_groups
from hvd_imgcls.keras.synchronization.settings import ReductionSettings

COUNTS = (1, 2, 4, 8, 16)
"""Numbers of groups that are measured."""
ROUNDS = 5
"""How often each is measured."""
MIN_GAIN = 0.02
"""Fraction of a step that another number than 1 must save."""


class AutomaticGroups:
    """Sums or averages tensors in the number of groups with the shortest steps.

    Whole steps are compared: groups that are sent during the backward pass may slow it down, if
    sending and computing share a processor.

    Args:
        settings: Operation, compression and process set.
    """

    def __init__(self, settings: ReductionSettings) -> None:
        self._settings = settings
        self._averaging = Averaging(settings)
        names = [str(count) for count in COUNTS]
        candidates = Candidates(
            what="groups of gradients",
            names=names,
            rounds=ROUNDS,
            warmup_steps=0,
            choose=_fastest_steps,
            reason=lambda measured, choice: reason_for_groups(measured, names, choice),
        )
        self._trials = Trials(candidates, settings.process_set)
        self._is_built = False

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the state, eagerly, before the first update.

        Args:
            variables: The variables that tensors may belong to.
        """
        self._averaging.build(variables)
        if self._settings.size > 1:
            self._trials.build()
            self._is_built = True

    def reduce(
        self,
        tensors: Sequence[tf.Tensor],
        variables: Sequence[Any],
        groups: list[list[int]],
        name: str,
        is_applied: tf.Tensor | bool = True,
    ) -> list[tf.Tensor]:
        """Returns the sums or means over the ranks, in groups of its own.

        Collective: every rank must call this. Arguments as for `Averaging.reduce`.
        """
        del groups
        if not tensors:
            return []
        turn, began = self._trials.next(), time_of(tensors)

        def reduced_in(count: int) -> Callable[[], list[tf.Tensor]]:
            parts = make_groups(count, list(tensors), variables)
            prefix = f"{name}.of_{count}"
            return lambda: self._averaging.reduce(tensors, variables, parts, prefix, is_applied)

        reduced: list[tf.Tensor] = tf.switch_case(turn.way, [reduced_in(n) for n in COUNTS])
        ended = time_of(reduced)
        self._trials.end(turn, began, ended, ended, name)
        return reduced

    def chosen(self) -> dict[str, Any]:
        """See `SynchronizationMode.chosen`."""
        if not self._is_built or self._trials.chosen() == NOT_YET:
            return {}
        return {"groups": COUNTS[self._trials.chosen()]}

    def bytes_sent(self, reductions: int) -> int:
        """See `Averaging.bytes_sent`."""
        return self._averaging.bytes_sent(reductions)

    def state(self) -> dict[str, Any]:
        """Returns the state that is equal on all ranks."""
        if not self._is_built:
            return {}
        return {"trials": self._trials.state(), "averaging": self._averaging.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`. Collective: every rank must call this."""
        if self._is_built and state:
            self._trials.restore(state["trials"])
            self._averaging.restore(state["averaging"])

    def rank_state(self) -> dict[str, Any]:
        """Returns the state of this rank: residuals of the compression, and its times."""
        if not self._is_built:
            return {}
        return {**self._averaging.rank_state(), "times": [self._trials.times()]}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """Restores the result of `rank_state`, or the means over the ranks."""
        if self._is_built and state:
            self._averaging.restore_rank_state(state)
            self._trials.restore_times(state["times"][0])


def _fastest_steps(measured: Measured) -> int:
    return fastest(measured.steps, measured.step_seconds, MIN_GAIN)
