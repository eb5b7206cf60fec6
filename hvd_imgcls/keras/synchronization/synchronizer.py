"""Turns this rank's gradients into an update that all ranks make together.

One `Synchronizer` belongs to one wrapped optimizer. It accumulates and reduces gradients, lets
the optimizer apply the result, and regularly checks that the ranks are in step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.checks.non_finite import (
    NonFiniteGuard,
    agree_on_finite,
    all_finite,
    apply_or_count,
    of_this_graph,
    true_on_all,
)
from hvd_imgcls.keras.graph.building import create_optimizer_variables
from hvd_imgcls.keras.synchronization.accumulation import Accumulation
from hvd_imgcls.keras.synchronization.accumulation_by_keras import reduce_on_update
from hvd_imgcls.keras.synchronization.choice import make_mode
from hvd_imgcls.keras.synchronization.comparison import StateComparison, without_local_slots
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.reduction import GradientReduction
from hvd_imgcls.keras.synchronization.settings import ReductionSettings, SynchronizerSettings
from hvd_imgcls.keras.synchronization.sharded import Sharded
from hvd_imgcls.optimizers.extending import whole

Apply = Callable[[list[Any], list[Any]], None]
MakeMode = Callable[[ReductionSettings, str], SynchronizationMode]

_counter = itertools.count()


class Synchronizer:
    """Makes an optimizer's updates the same on all ranks.

    Args:
        settings: The settings.
        make_mode: Creates the synchronization mode from the settings of the reduction and a
            prefix of names.

    Attributes:
        settings: The settings.
        reduction: Reduces the gradients.
        guard: Skips NaN and infinite updates; None if they are applied.
        accumulation: Accumulates several passes; None with one pass per update.
        comparison: Counts the updates and compares the ranks; None before the first update.
    """

    def __init__(self, settings: SynchronizerSettings, make_mode: MakeMode = make_mode) -> None:
        self.settings = settings
        self._make_mode = make_mode
        self._number: int | None = None
        self.reduction = GradientReduction(make_mode(settings.reduction, "gradients"))
        self.guard = NonFiniteGuard() if settings.skip_non_finite else None
        passes = settings.backward_passes_per_step
        self.accumulation = (
            Accumulation(passes, averages=settings.average_aggregated_gradients)
            if passes > 1
            else None
        )
        self.comparison: StateComparison | None = None
        self._is_suspended = False

    def another(self) -> Synchronizer:
        """Returns a new one with the same settings, for another optimizer."""
        return Synchronizer(self.settings, self._make_mode)

    @property
    def number(self) -> int:
        """Number of this synchronizer, given at its first use.

        Two optimizers in one step need different names. Every rank uses its optimizers in the same
        order, but may have created others, for example by loading a file.
        """
        if self._number is None:
            self._number = next(_counter)
            self.mode.name = f"gradients_{self._number}"
        return self._number

    @property
    def mode(self) -> SynchronizationMode:
        """The synchronization mode."""
        return self.reduction.mode

    @property
    def updates(self) -> tf.Variable | None:
        """Number of completed updates, int64; None before the first."""
        return None if self.comparison is None else self.comparison.updates

    @property
    def has_nothing_to_do(self) -> bool:
        """Whether the optimizer can apply its gradients directly."""
        is_alone = self.reduction.size == 1 and not isinstance(self.mode, Sharded)
        return self._is_suspended or (is_alone and self.accumulation is None and self.guard is None)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Context manager in which the optimizer applies gradients without reduction."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False

    def step(
        self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any], apply: Apply
    ) -> None:
        """Handles one backward pass; on every k-th, reduces and applies.

        Collective: every rank of the process set must call this.

        Args:
            optimizer: The optimizer whose state is compared; built by this call.
            gradients: This rank's gradients.
            variables: Their variables.
            apply: Applies reduced gradients.
        """
        gradients, variables = list(gradients), list(variables)
        self.start(optimizer, variables)
        accumulation = self.accumulation
        if accumulation is None:
            self._update(optimizer, gradients, variables, apply)
            return

        def update() -> tf.Tensor:
            totals = accumulation.totals(gradients, variables)
            self._update(optimizer, totals, variables, apply)
            accumulation.clear()
            return tf.constant(True)

        tf.cond(accumulation.add(gradients, variables), update, lambda: tf.constant(False))

    def start(self, optimizer: Any, variables: Sequence[Any]) -> None:
        """Builds, and compares the set-up of the ranks, before the first update.

        Collective: every rank of the process set must call this. Later calls do nothing.
        """
        if self.comparison is not None:
            return
        # The number names the operations of this rank; see there.
        number = self.number
        create_optimizer_variables(optimizer, variables)
        self.comparison = StateComparison(self.reduction, self.settings.check_every_steps)
        with tf.init_scope():
            slots = without_local_slots(optimizer.variables, variables, self.reduction.is_local)
            self.mode.build(self.reduction.shared(variables), slots)
            if self.reduction.size > 1:
                consistency.require_same_start(
                    self._describe(optimizer, number),
                    variables,
                    self.settings.reduction.process_set,
                    self.reduction.is_local,
                )

    def _describe(self, optimizer: Any, number: int) -> dict[str, Any]:
        config = optimizer.get_config()
        return {
            "number": number,
            "class": optimizer.__class__.__name__,
            "config": {key: str(value) for key, value in config.items() if key != "name"},
            "mode": type(self.mode).__name__,
            **self.settings.describe(),
        }

    def _update(
        self, optimizer: Any, gradients: list[Any], variables: list[Any], apply: Apply
    ) -> None:
        comparison = self.comparison
        assert comparison is not None, "start() was not called"  # noqa: S101
        compared = []
        if self.reduction.size > 1:
            compared = [comparison.compare_if_due(optimizer, variables)]
        # All ranks fail before any of them sends: one that had sent would wait for the others.
        with tf.control_dependencies(compared):
            reduced = reduce_on_update(self.reduction, optimizer, gradients, variables)
        if self.guard is None and not self.mode.may_skip:
            apply(reduced, variables)
        else:
            self._apply_if_due(optimizer, gradients, reduced, variables, apply)
        updates = comparison.updates.assign_add(1)
        if self.reduction.size > 1:
            self.mode.after_update(updates, self.reduction.shared(variables))

    def _apply_if_due(
        self,
        optimizer: Any,
        gradients: list[Any],
        reduced: list[Any],
        variables: list[Any],
        apply: Apply,
    ) -> None:
        """Applies reduced gradients, unless they are not finite or not those of an update."""

        def apply_now() -> None:
            apply(of_this_graph(reduced), variables)

        def apply_if_due() -> None:
            if self.mode.may_skip and self.reduction.size > 1:
                apply_or_count(optimizer, self.mode.has_update(), apply_now)
            else:
                apply_now()

        if self.guard is None:
            apply_if_due()
        else:
            is_finite = self._is_finite(reduced, variables)
            own = self.reduction.without_parts(gradients, variables)
            self.guard.apply(optimizer, lambda: self.mode.sent(own), is_finite, apply_if_due)

    def _is_finite(self, reduced: list[Any], variables: list[Any]) -> tf.Tensor:
        """Returns whether the update is finite, the same on all ranks, scalar, bool."""
        is_finite = all_finite(self.reduction.checked(reduced, variables))
        are_equal = self.mode.reduces_to_equal and not self.reduction.part_variables
        if self.reduction.size == 1 or are_equal:
            return is_finite
        name = f"update_is_finite_{self.number}"
        return true_on_all(is_finite, self.settings.reduction.process_set, name)

    def settle(self, variables: Sequence[Any]) -> None:
        """Makes the model equal on all ranks: before evaluation, callbacks and saving.

        Collective: every rank of the process set must call this.

        Args:
            variables: Variables of model and optimizer.
        """
        if self.reduction.size > 1:
            self.mode.settle(self.reduction.shared(variables))

    @property
    def is_settled(self) -> bool:
        """Whether the model is equal on all ranks now, so that it can be saved."""
        return self.reduction.size == 1 or self.mode.is_settled()

    def state(self, optimizer: Any) -> dict[str, Any]:
        """Returns the state kept between steps: JSON values and arrays.

        Args:
            optimizer: The built optimizer.
        """
        return {
            "comparison": None if self.comparison is None else self.comparison.state(),
            "accumulation": self.accumulation and self.accumulation.state(_wholes(optimizer)),
            "guard": None if self.guard is None else self.guard.state(),
            "mode": self.mode.state(),
        }

    def restore(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Restores the result of `state` for an optimizer of the same class.

        Collective: every rank of the process set must call this.
        """
        if state["comparison"] is not None:
            self.start(optimizer, _wholes(optimizer))
        for part, name in (
            (self.comparison, "comparison"),
            (self.guard, "guard"),
            (self.mode, "mode"),
        ):
            if part is not None and state[name] is not None:
                part.restore(state[name])
        if self.accumulation is not None and state["accumulation"] is not None:
            self.accumulation.restore(state["accumulation"], _wholes(optimizer))

    def agree_before_scaling(self, optimizer: Any) -> bool:
        """Whether the ranks must agree on finite values in addition to the reduction.

        With loss scaling, the reduction itself propagates an infinity to all ranks, unless
        some gradients are not reduced in this step or at all.
        """
        return bool(
            self.reduction.local_variables
            or getattr(optimizer, "gradient_accumulation_steps", None)
        )

    def agree_on_finite(self, gradients: Sequence[Any]) -> list[Any]:
        """See `non_finite.agree_on_finite`. Collective: every rank must call this."""
        process_set = self.settings.reduction.process_set
        return agree_on_finite(gradients, process_set, f"finite_{self.number}")


def synchronizer_of(optimizer: Any) -> Synchronizer | None:
    """Returns the synchronizer of an optimizer; None if it is not wrapped."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return getattr(type(optimizer), "_synchronizer", None)


def _wholes(optimizer: Any) -> list[Any]:
    return [whole(variable) for variable in optimizer._trainable_variables]
