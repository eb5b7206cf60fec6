"""Counts every rank's gradient by its number of examples, if the ranks have different ones.

A gradient is that of the mean loss of its batch. The optimizer does not get the batch; the training
step passes its size on.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.graph.train_steps import TrainStep, wrapped_train_step

_FACTOR: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("factor", default=None)


def weighted_by_examples(gradients: Sequence[Any]) -> list[Any]:
    """Returns gradients whose mean over ranks is that of all examples of the present batch.

    Args:
        gradients: Tensors, `tf.IndexedSlices` or None.
    """
    factor = _FACTOR.get()
    if factor is None:
        return list(gradients)
    return [None if gradient is None else _times(gradient, factor) for gradient in gradients]


def counting_examples(
    model: keras.Model, mean_batch_size: int
) -> contextlib.AbstractContextManager[None]:
    """Returns a context manager in which the ranks' batches of `fit` may differ in size.

    Args:
        model: The model; compiled within the context, because a step that is already traced does
            not change.
        mean_batch_size: Mean size of the batches of all ranks, the same in every step.
    """

    def step(train_step: TrainStep, data: Any) -> Any:
        batch_size = tf.shape(tf.nest.flatten(data)[0])[0]
        token = _FACTOR.set(tf.cast(batch_size, tf.float32) / mean_batch_size)
        try:
            return train_step(data)
        finally:
            _FACTOR.reset(token)

    return wrapped_train_step(model, step)


def _times(gradient: Any, factor: tf.Tensor) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values * tf.cast(factor, gradient.values.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)
