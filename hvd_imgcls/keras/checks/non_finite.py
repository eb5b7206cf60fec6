"""Skips updates whose gradients are NaN or infinite, on all ranks.

A NaN or infinity on one rank makes the reduced gradient NaN or infinite on all ranks, so
they all detect it without communication. If ranks apply different gradients, one small
message determines whether all of them are finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp
from hvd_imgcls.keras.graph.variables import native_variable


class NonFiniteGuard:
    """Applies finite updates and skips others: weights and state stay unchanged.

    `iterations` is incremented nevertheless, because learning rate and data depend on the
    number of the step. With loss scaling, infinities are part of finding the scale; an
    update is then skipped by the scaling itself, and counts as skipped only if the scale is 1.

    Attributes:
        num_skipped_updates: Number of skipped updates, int64, equal on all ranks.
        is_of_this_rank: Whether this rank's own gradient was NaN or infinite the last time.
    """

    num_skipped_updates: tf.Variable
    is_of_this_rank: tf.Variable

    def __init__(self) -> None:
        with tf.init_scope():
            self.num_skipped_updates = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.is_of_this_rank = tf.Variable(False, trainable=False)

    def state(self) -> dict[str, Any]:
        """Returns the number of skipped updates."""
        return {"num_skipped_updates": int(self.num_skipped_updates.numpy())}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self.num_skipped_updates.assign(state["num_skipped_updates"])

    def apply(
        self,
        optimizer: Any,
        local: Callable[[], Sequence[Any]],
        is_finite: tf.Tensor,
        apply: Callable[[], Any],
    ) -> None:
        """Applies or skips an update.

        Args:
            optimizer: The optimizer.
            local: Returns the gradients of this rank, which may include None.
            is_finite: Whether the update is finite, scalar, bool, the same on all ranks.
            apply: Applies the gradients.
        """

        def hold_back() -> tf.Tensor:
            self.num_skipped_updates.assign_add(1)
            self.is_of_this_rank.assign(tf.logical_not(all_finite(local())))
            return tf.constant(True)

        def apply_all() -> tf.Tensor:
            apply()
            return tf.constant(True)

        def hold_back_and_count() -> tf.Tensor:
            native_variable(optimizer._iterations).assign_add(1)
            return hold_back()

        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            is_small = native_variable(optimizer.dynamic_scale) <= 1.0
            is_bad = tf.logical_and(tf.logical_not(is_finite), is_small)
            tf.cond(is_bad, hold_back, lambda: tf.constant(True))
            apply()
        else:
            tf.cond(is_finite, apply_all, hold_back_and_count)


def apply_or_count(optimizer: Any, has_update: tf.Tensor, apply: Callable[[], Any]) -> None:
    """Applies an update, or only counts the step.

    Args:
        optimizer: The optimizer.
        has_update: Scalar, bool, the same on all ranks.
        apply: Applies the gradients.
    """

    def apply_all() -> tf.Tensor:
        apply()
        return tf.constant(True)

    def count() -> tf.Tensor:
        native_variable(optimizer._iterations).assign_add(1)
        return tf.constant(True)

    tf.cond(has_update, apply_all, count)


def of_this_graph(gradients: Sequence[Any]) -> list[Any]:
    """Returns the gradients as tensors of the graph being traced, a branch of a condition.

    Keras sums gradients over replicas, which requires all of them to be from one graph; an
    optimizer that changes only some of them (weight decay, clipping) would violate this.
    """
    return [
        None if g is None else tf.nest.map_structure(tf.identity, g, expand_composites=True)
        for g in gradients
    ]


def all_finite(gradients: Sequence[Any]) -> tf.Tensor:
    """Returns whether no element is NaN or infinite, scalar, bool.

    Computes one sum per tensor, which NaN and infinities propagate to. Elements whose sum
    overflows float32 (3.4e38) count as infinite.

    Args:
        gradients: Tensors, `tf.IndexedSlices` or None.
    """
    values = [getattr(g, "values", g) for g in gradients if g is not None]
    if not values:
        return tf.constant(True)
    sums = [tf.cast(tf.reduce_sum(_wide(value)), tf.float32) for value in values]
    return tf.math.is_finite(tf.add_n(sums))


def _wide(value: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(value)
    return tf.cast(tensor, tf.float32) if tensor.dtype.size == 2 else tensor


def true_on_all(value: tf.Tensor, process_set: ProcessSet, name: str) -> tf.Tensor:
    """Returns whether a value is true on all ranks, scalar, bool.

    Collective: every rank of the process set must call this.

    Args:
        value: Scalar, bool.
        process_set: The participating ranks.
        name: Name of the operation.
    """
    lowest = distributed.current().allreduce(
        tf.cast(value, tf.float32), op=ReduceOp.MIN, name=name, process_set=process_set
    )
    return lowest > 0


def agree_on_finite(gradients: Sequence[Any], process_set: ProcessSet, name: str) -> list[Any]:
    """Propagates one rank's infinity to all, so that all ranks skip the step or none does.

    Collective: every rank of the process set must call this.

    Args:
        gradients: Tensors, `tf.IndexedSlices` or None.
        process_set: The participating ranks.
        name: Name of the operation.

    Returns:
        The gradients; all NaN on every rank if any was NaN or infinite on any rank.
    """
    values = [getattr(g, "values", g) for g in gradients if g is not None]
    is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
    factor = tf.where(true_on_all(is_finite, process_set, name), 1.0, np.nan)

    def poison(gradient: Any) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, tf.IndexedSlices):
            values = gradient.values * tf.cast(factor, gradient.values.dtype)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return gradient * tf.cast(factor, gradient.dtype)

    return [poison(gradient) for gradient in gradients]
