"""Reduction of the gradients of an optimizer that accumulates them itself."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.reduction import GradientReduction


def reduce_on_update(
    reduction: GradientReduction, optimizer: Any, gradients: list[Any], variables: list[Any]
) -> list[Any]:
    """Reduces now or, if Keras itself accumulates, only on Keras's update step.

    Collective: every rank of the process set must call this.

    Args:
        reduction: Reduces gradients.
        optimizer: The optimizer, with or without `gradient_accumulation_steps`.
        gradients: This rank's gradients.
        variables: Their variables.
    """
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if not steps or reduction.size == 1:
        return reduction.reduce(gradients, variables)
    # Keras adds what it is given to its own accumulators on the steps between. On the
    # update step it gets the reduced total, and finds its accumulators empty.
    sums = [optimizer._accumulated_gradients[optimizer._get_variable_index(v)] for v in variables]
    dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]

    def reduce_total() -> list[tf.Tensor]:
        totals = [
            None if g is None else g + native_variable(s) for g, s in zip(dense, sums, strict=True)
        ]
        reduced = reduction.reduce(totals, variables)
        for s in sums:
            native_variable(s).assign(tf.zeros_like(native_variable(s)))
        return [g for g in reduced if g is not None]

    # Not `iterations`: that property counts updates, and passes must be counted here.
    is_update = (native_variable(optimizer._iterations) + 1) % steps == 0
    present = tf.cond(is_update, reduce_total, lambda: [g for g in dense if g is not None])
    remaining = iter(present)
    return [None if g is None else next(remaining) for g in dense]
