"""Batch normalisation over the global batch instead of each rank's part of it."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.graph.waiting import timed
from hvd_imgcls.keras.layers.class_change import change_class


class SyncBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with statistics over all ranks.

    The ranks reduce counts, sums and squared deviations, so that parts of different sizes and
    masks are weighted correctly; gradients flow through the sums. A saved
    model contains a plain `BatchNormalization(synchronized=True)`; `hvd.load_model` makes
    it synchronised again.

    Collective in training: every rank must call it the same number of times.

    Args:
        **keywords: As for `keras.layers.BatchNormalization`.
    """

    def __init__(self, **keywords: Any) -> None:
        keywords["synchronized"] = True
        super().__init__(**keywords)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The plain layer, for saving."""
        return keras.layers.BatchNormalization

    def _moments(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and variance, `[channels]`, over all ranks."""
        axis = self.axis % len(inputs.shape)
        axes = [index for index in range(len(inputs.shape)) if index != axis]
        channels = inputs.shape[axis]
        if mask is None:
            weights = tf.ones([], inputs.dtype)
            count = tf.cast(tf.size(inputs) // channels, inputs.dtype)
        else:
            weights = tf.cast(mask, inputs.dtype)[..., tf.newaxis]
            weights = tf.broadcast_to(weights, tf.shape(inputs))
            count = tf.reduce_sum(weights) / channels
        sums = tf.reduce_sum(inputs * weights, axes)
        total = _sum_over_ranks(tf.concat([sums, [count]], 0), "sums")
        mean = total[:-1] / total[-1]
        shape = [1] * len(inputs.shape)
        shape[axis] = channels
        # Deviations from the global mean: E[x^2] - E[x]^2 would lose all precision if the
        # mean is large compared with the spread.
        squares = tf.reduce_sum(weights * tf.square(inputs - tf.reshape(mean, shape)), axes)
        return mean, _sum_over_ranks(squares, "squares") / total[-1]


def synchronize_batch_normalization(model: keras.Model, *, only_marked: bool = False) -> None:
    """Makes the batch normalisation of any model synchronised, in-place.

    Args:
        model: Any Keras 3 model. It is saved as a plain Keras model with `synchronized=True`.
        only_marked: Whether to change only layers whose `synchronized` is True, as in a file.
    """
    for layer in model._flatten_layers():
        is_plain = type(layer) is keras.layers.BatchNormalization
        if is_plain and (layer.synchronized or not only_marked):
            layer.synchronized = True
            change_class(layer, SyncBatchNormalization)


def _sum_over_ranks(tensor: tf.Tensor, what: str) -> tf.Tensor:
    """Sums over ranks; the gradient of a sum over ranks is the sum of the gradients."""
    ranks = distributed.current()
    name = f"sync_batch_normalization.{what}"

    def add(operation: str, value: tf.Tensor) -> tf.Tensor:
        return ranks.allreduce(value, op=ReduceOp.SUM, name=operation)

    @tf.custom_gradient
    def reduce(value: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return timed(functools.partial(add, f"{name}.gradient"), upstream)

        return timed(functools.partial(add, name), value), gradient

    return reduce(tensor)
