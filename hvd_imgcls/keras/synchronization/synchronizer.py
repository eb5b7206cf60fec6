"""From this rank's gradients to an update that all ranks make together.

One `Synchronizer` belongs to one wrapped optimizer. It accumulates, reduces, lets the
optimizer apply the result, and checks every so often that the ranks are in step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.checks.non_finite import NonFiniteGuard, of_this_graph
from hvd_imgcls.keras.graph.building import create_optimizer_variables
from hvd_imgcls.keras.graph.host_callback import run_if
from hvd_imgcls.keras.graph.variables import native_variable, variable_path
from hvd_imgcls.keras.synchronization.reduction import (
    GradientReduction,
    ReductionSettings,
    agree_on_finite,
)

SynchronizerArguments = tuple[ReductionSettings, int, bool, int, bool]
Apply = Callable[[list[Any], list[Any]], None]

_counter = itertools.count()


class Synchronizer:
    """Makes an optimizer's updates the same on all ranks.

    Args:
        settings: How gradients are reduced.
        backward_passes_per_step: How many gradients are added up before one update.
        average_aggregated_gradients: Whether their mean is applied instead of their sum.
        check_every_steps: Updates between two comparisons of weights and optimizer
            state; 0 compares only before the first two.
        skip_non_finite: Whether updates that are not finite are held back.

    Attributes:
        reduction: The object that communicates.
        guard: What holds updates back, None if nothing does.
        updates: Number of updates made, a `tf.Variable`, int64; None before the first.
    """

    def __init__(
        self,
        settings: ReductionSettings,
        backward_passes_per_step: int,
        average_aggregated_gradients: bool,
        check_every_steps: int,
        skip_non_finite: bool = False,
    ) -> None:
        self.settings = settings
        self.backward_passes_per_step = backward_passes_per_step
        self.average_aggregated_gradients = average_aggregated_gradients
        self.check_every_steps = check_every_steps
        # Numbered, so that two optimizers in one step do not use the same names. Every
        # rank creates its optimizers in the same order, or the first comparison says so.
        self.number = next(_counter)
        self.reduction = GradientReduction(settings, f"gradients_{self.number}")
        self.guard = NonFiniteGuard() if skip_non_finite else None
        self.updates: Any = None
        self._passes: Any = None
        self._next_comparison: Any = None
        self._sums: dict[int, tf.Variable] = {}
        self._is_suspended = False

    @property
    def arguments(self) -> SynchronizerArguments:
        """What to make another one of the same kind with."""
        return (
            self.settings,
            self.backward_passes_per_step,
            self.average_aggregated_gradients,
            self.check_every_steps,
            self.guard is not None,
        )

    @property
    def has_nothing_to_do(self) -> bool:
        """Whether the optimizer may simply apply its gradients."""
        return self._is_suspended or (
            self.reduction.size == 1 and self.backward_passes_per_step == 1 and self.guard is None
        )

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """While this lasts, the optimizer applies gradients as they are."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False

    def step(
        self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any], apply: Apply
    ) -> None:
        """Takes one backward pass; on every k-th, reduces and applies.

        Collective: every rank of the process set must call this.

        Args:
            optimizer: The optimizer whose state is compared; built by this call.
            gradients: This rank's gradients.
            variables: Their variables.
            apply: Applies reduced gradients.
        """
        self._start(optimizer, variables)
        if self.backward_passes_per_step == 1:
            self._update(optimizer, list(gradients), list(variables), apply)
        else:
            self._accumulate(optimizer, list(gradients), list(variables), apply)

    def _start(self, optimizer: Any, variables: Sequence[Any]) -> None:
        """Before the first update: build, and compare what the ranks are about to do."""
        if self.updates is not None:
            return
        create_optimizer_variables(optimizer, variables)
        with tf.init_scope():
            self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
            self._next_comparison = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._passes = tf.Variable(0, dtype=tf.int64, trainable=False, name="passes")
            if self.reduction.size > 1:
                settings = self._describe(optimizer)
                consistency.require_same_start(settings, variables, self.settings.process_set)

    def _describe(self, optimizer: Any) -> dict[str, Any]:
        config = optimizer.get_config()
        return {
            "number": self.number,
            "class": optimizer.__class__.__name__,
            "config": {key: str(value) for key, value in config.items() if key != "name"},
            "backward_passes_per_step": self.backward_passes_per_step,
            "average_aggregated_gradients": self.average_aggregated_gradients,
            "check_every_steps": self.check_every_steps,
            "skip_non_finite": self.guard is not None,
            **self.settings.describe(),
        }

    def _shared_state(self, optimizer: Any, variables: Sequence[Any]) -> list[Any]:
        """Returns weights and optimizer state that must be equal on all ranks."""
        shared = [v for v in variables if not self.reduction.is_local(v)]
        # Between updates Keras's own sums hold what only this rank has seen.
        sums = {id(v) for v in getattr(optimizer, "_accumulated_gradients", ()) if v is not None}
        slots = [v for v in optimizer.variables if id(v) not in sums]
        if not self.reduction.local_variables:
            return shared + slots
        # A slot is named after its variable; "dense_kernel" is also how "dense_kernel_2"
        # begins, so the longest name that fits is the owner.
        # Plain tf.Variables share names; a name is local if one of its variables is.
        is_local: dict[str, bool] = {}
        for variable in variables:
            name = variable_path(variable).replace("/", "_").replace(":", "_") + "_"
            is_local[name] = is_local.get(name, False) or self.reduction.is_local(variable)
        for slot in slots:
            fitting = [name for name in is_local if slot.name.startswith(name)]
            if not fitting or not is_local[max(fitting, key=len)]:
                shared.append(slot)
        return shared

    def _update(
        self, optimizer: Any, gradients: list[Any], variables: list[Any], apply: Apply
    ) -> None:
        compared = [self._compare_state(optimizer, variables)] if self.reduction.size > 1 else []
        # All ranks fail before any of them sends: one that had sent would wait for the others.
        with tf.control_dependencies(compared):
            reduced = self._reduce(optimizer, gradients, variables)
        if self.guard is None:
            apply(reduced, variables)
        else:
            is_local = self.reduction.is_local
            shared = [g for g, v in zip(reduced, variables, strict=True) if not is_local(v)]
            self.guard.apply(
                optimizer, gradients, shared, lambda: apply(of_this_graph(reduced), variables)
            )
        self.updates.assign_add(1)

    def _compare_state(self, optimizer: Any, variables: list[Any]) -> tf.Tensor:
        """Compares weights and optimizer state before updates 0, 1, k, 2k, ..."""
        shared = self._shared_state(optimizer, variables)
        done = self.updates.read_value()

        def compare() -> None:
            consistency.require_same_values(
                shared, done, self.settings.process_set, only_warn_at_start=True
            )
            self._next_comparison.assign(self._comparison_after(done))

        # One operation in every step, where `done % k == 0` would be four.
        return run_if(done >= self._next_comparison.read_value(), compare)

    def _comparison_after(self, done: tf.Tensor) -> tf.Tensor:
        every = self.check_every_steps
        regular = done - done % every + every if every else tf.int64.max
        return tf.where(done == 0, tf.constant(1, tf.int64), regular)

    def _reduce(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> list[Any]:
        """Reduces now or, if Keras itself accumulates, on Keras's update step only."""
        steps = getattr(optimizer, "gradient_accumulation_steps", None)
        if not steps or self.reduction.size == 1:
            return self.reduction.reduce(gradients, variables)
        # Keras adds what it is given to its own sums on the steps between. On the update
        # step it gets the reduced total, and finds its sums empty.
        sums = [
            optimizer._accumulated_gradients[optimizer._get_variable_index(v)] for v in variables
        ]
        dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]

        def reduce_total() -> list[tf.Tensor]:
            totals = [
                None if g is None else g + native_variable(s)
                for g, s in zip(dense, sums, strict=True)
            ]
            reduced = self.reduction.reduce(totals, variables)
            for s in sums:
                native_variable(s).assign(tf.zeros_like(native_variable(s)))
            return [g for g in reduced if g is not None]

        # Not `iterations`: that property counts updates, and this must count passes.
        is_update = (native_variable(optimizer._iterations) + 1) % steps == 0
        present = tf.cond(is_update, reduce_total, lambda: [g for g in dense if g is not None])
        remaining = iter(present)
        return [None if g is None else next(remaining) for g in dense]

    def _accumulate(
        self, optimizer: Any, gradients: list[Any], variables: list[Any], apply: Apply
    ) -> None:
        passes = self.backward_passes_per_step
        sums = [self._sum_for(v, g) for v, g in zip(variables, gradients, strict=True)]
        for total, gradient in zip(sums, gradients, strict=True):
            if total is not None:
                # Sparse gradients are added into a dense sum: rows of k passes overlap.
                total.assign_add(tf.cast(tf.convert_to_tensor(gradient), total.dtype))
        self._passes.assign_add(1)

        def update() -> tf.Tensor:
            divisor = passes if self.average_aggregated_gradients else 1
            totals = [None if s is None else s.read_value() / divisor for s in sums]
            self._update(optimizer, totals, variables, apply)
            for total in sums:
                if total is not None:
                    total.assign(tf.zeros_like(total))
            return tf.constant(True)

        due = self._passes.read_value() % passes == 0
        tf.cond(due, update, lambda: tf.constant(False))

    def _sum_for(self, variable: Any, gradient: Any) -> tf.Variable | None:
        if gradient is None:
            return None
        native = native_variable(variable)
        if id(native) not in self._sums:
            with tf.init_scope():
                # Not zeros_like: the variable of a model under construction has no value.
                zeros = tf.zeros(native.shape, native.dtype)
                self._sums[id(native)] = tf.Variable(zeros, trainable=False)
        return self._sums[id(native)]

    def agree_before_scaling(self, optimizer: Any) -> bool:
        """Whether finite values must be agreed on apart from the reduction.

        With loss scaling the reduction itself spreads an infinity to all ranks, unless
        some gradients are not reduced at this step or at all.
        """
        return bool(
            self.reduction.local_variables
            or getattr(optimizer, "gradient_accumulation_steps", None)
        )

    def agree_on_finite(self, gradients: Sequence[Any]) -> list[Any]:
        """See `reduction.agree_on_finite`. Collective."""
        return agree_on_finite(gradients, self.settings.process_set, f"finite_{self.number}")


def synchronizer_of(optimizer: Any) -> Synchronizer | None:
    """Returns what synchronises an optimizer; None if it is not wrapped."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return getattr(type(optimizer), "_synchronizer", None)


def variables_of(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any] | None
) -> list[Any]:
    """Returns the variables that the gradients belong to.

    Raises:
        ConfigError: If none are given and the optimizer was not built for as many.
    """
    if variables is not None:
        return list(variables)
    if not optimizer.built or len(gradients) != len(optimizer._trainable_variables):
        raise ConfigError(
            "apply(grads)",
            got=f"{len(gradients)} gradients without variables",
            expected="the variables, or an optimizer built for as many",
            fix="call apply_gradients(zip(gradients, variables))",
        )
    return list(optimizer._trainable_variables)
