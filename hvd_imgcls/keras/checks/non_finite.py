"""Updates whose gradients are not finite are held back, on all ranks alike.

A NaN or an infinity of one rank makes the reduced gradient NaN or infinite on all of them, so
every rank sees the same without another message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable


class NonFiniteGuard:
    """Applies finite updates and holds the others back: weights and state stay as they were.

    `iterations` counts on all the same, because learning rate and data follow from the number
    of the step. Under loss scaling an infinity is how the scale finds its size, so there an
    update counts as held back only if the scale is down to 1; the scaling skips it itself.

    Attributes:
        num_held_back: How many updates were held back, int64, equal on all ranks.
        is_of_this_rank: Whether this rank's own gradient was not finite the last time.
    """

    num_held_back: tf.Variable
    is_of_this_rank: tf.Variable

    def __init__(self) -> None:
        with tf.init_scope():
            self.num_held_back = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.is_of_this_rank = tf.Variable(False, trainable=False)

    def apply(
        self,
        optimizer: Any,
        local: Sequence[Any],
        shared: Sequence[Any],
        apply: Callable[[], Any],
    ) -> None:
        """Applies an update or holds it back.

        Args:
            optimizer: Whose.
            local: This rank's gradients, None among them.
            shared: The reduced gradients that are equal on all ranks, None among them.
            apply: Applies them.
        """
        is_finite = all_finite(shared)

        def hold_back() -> tf.Tensor:
            self.num_held_back.assign_add(1)
            self.is_of_this_rank.assign(tf.logical_not(all_finite(local)))
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


def of_this_graph(gradients: Sequence[Any]) -> list[Any]:
    """Returns the gradients as tensors of the graph that is being traced, a branch of a condition.

    Keras sums gradients up over replicas, which wants all of them from one graph; an optimizer
    that changes some, as weight decay or clipping does, would leave the others outside.
    """
    return [
        None if g is None else tf.nest.map_structure(tf.identity, g, expand_composites=True)
        for g in gradients
    ]


def all_finite(gradients: Sequence[Any]) -> tf.Tensor:
    """Returns whether no element is NaN or infinite, scalar, bool.

    One sum per tensor: NaN and infinities survive it. Elements whose sum overflows float32
    (3.4e38) count as infinite.

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
