"""Compares weights and optimizer state across ranks at regular intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.graph.host_callback import run_if
from hvd_imgcls.keras.graph.variables import variable_path
from hvd_imgcls.keras.synchronization.reduction import GradientReduction


class StateComparison:
    """Counts the updates, and compares all ranks before updates 0, 1, k, 2k, ...

    Args:
        reduction: Defines the local variables, and the mode.
        every: Updates between two comparisons (k); 0 for none after the first two.

    Attributes:
        updates: Number of completed updates, a `tf.Variable`, int64.
    """

    def __init__(self, reduction: GradientReduction, every: int) -> None:
        self._reduction = reduction
        self._every = every
        with tf.init_scope():
            self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
            self._next = tf.Variable(0, dtype=tf.int64, trainable=False)

    def compare_if_due(self, optimizer: Any, variables: Sequence[Any]) -> tf.Tensor:
        """Compares if due and if the mode guarantees that the ranks are equal.

        Collective: every rank of the process set must call this.

        Returns:
            A tensor for control dependencies.
        """
        shared = shared_state(self._reduction, optimizer, variables)
        done = self.updates.read_value()

        def compare() -> None:
            consistency.require_same_values(
                shared, done, self._reduction.settings.process_set, only_warn_at_start=True
            )
            self._next.assign(self._next_after(done))

        # One operation per step, where `done % k == 0` would be four.
        due = done >= self._next.read_value()
        are_equal = self._reduction.mode.are_ranks_equal(done)
        return run_if(due if are_equal is True else tf.logical_and(due, are_equal), compare)

    def _next_after(self, done: tf.Tensor) -> tf.Tensor:
        every = self._every
        regular = done - done % every + every if every else tf.int64.max
        return tf.where(done == 0, tf.constant(1, tf.int64), regular)

    def state(self) -> dict[str, Any]:
        """Returns the number of updates, and before which update the next comparison is due."""
        return {"updates": int(self.updates.numpy()), "next": int(self._next.numpy())}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self.updates.assign(state["updates"])
        self._next.assign(state["next"])


def shared_state(
    reduction: GradientReduction, optimizer: Any, variables: Sequence[Any]
) -> list[Any]:
    """Returns weights and optimizer state that must be equal on all ranks."""
    shared = reduction.shared(variables)
    if reduction.mode.keeps_optimizer_state:
        return shared
    # Between updates, Keras's own accumulators differ between ranks.
    sums = {id(v) for v in getattr(optimizer, "_accumulated_gradients", ()) if v is not None}
    slots = [v for v in optimizer.variables if id(v) not in sums]
    if not reduction.local_variables:
        return shared + slots
    return shared + without_local_slots(slots, variables, reduction.is_local)


def without_local_slots(
    slots: Sequence[Any], variables: Sequence[Any], is_local: Callable[[Any], bool]
) -> list[Any]:
    """Returns the variables of an optimizer that do not belong to a local variable.

    Args:
        slots: Variables of the optimizer.
        variables: The trainable variables that it was built for.
        is_local: Whether one of them is local.
    """
    # A slot is named after its variable; "dense_kernel" is also a prefix of "dense_kernel_2",
    # so the longest matching name is the owner.
    # Plain tf.Variables share names; a name is local if any of its variables is.
    local_names: dict[str, bool] = {}
    for variable in variables:
        name = variable_path(variable).replace("/", "_").replace(":", "_") + "_"
        local_names[name] = local_names.get(name, False) or is_local(variable)
    shared = []
    for slot in slots:
        fitting = [name for name in local_names if slot.name.startswith(name)]
        if not fitting or not local_names[max(fitting, key=len)]:
            shared.append(slot)
    return shared
