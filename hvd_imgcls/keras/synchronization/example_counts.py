"""Counts every rank's loss by its number of examples, if the ranks have different ones.

The loss of a batch is a mean, and the ranks average its gradients. So it is multiplied by the size
of the batch relative to the mean of all ranks. Not the gradients: in synchronised batch
normalisation, those of a rank contain parts of the losses of others.
"""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.train_steps import TrainStep, wrapped_train_step
from hvd_imgcls.keras.graph.waiting import recording_waiting
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


def counting_examples(
    model: keras.Model, mean_batch_size: int
) -> contextlib.AbstractContextManager[None]:
    """Returns a context manager in which the ranks' batches of `fit` may differ in size.

    Metrics are those of Keras; they count examples anyway.

    Args:
        model: The model; compiled within the context, because a step that is already traced does
            not change.
        mean_batch_size: Mean size of the batches of all ranks, the same in every step.

    Raises:
        ConfigError: In the first step, if the model has a training step of its own that does not
            call `scale_loss` of its optimizer.
    """

    def step(train_step: TrainStep, data: Any) -> Any:
        batch_size = tf.shape(tf.nest.flatten(data)[0])[0]
        factor = tf.cast(batch_size, tf.float32) / mean_batch_size
        optimizer = model.optimizer
        plain, losses = optimizer.scale_loss, []

        def scale_loss(loss: tf.Tensor) -> tf.Tensor:
            losses.append(loss)
            return plain(loss) * tf.cast(factor, loss.dtype)

        # On the instance, in front of the class's method. Not `setattr`, which Keras tracks.
        vars(optimizer)["scale_loss"] = scale_loss
        try:
            with _measured_waiting(optimizer):
                result = train_step(data)
        finally:
            del vars(optimizer)["scale_loss"]
        if not losses:
            raise ConfigError(
                "data.allocation",
                got=f"dynamic, with the train_step of {type(model).__name__}",
                expected="one that calls self.optimizer.scale_loss(loss), as Keras's does",
                fix="call it before the gradients are computed, or use static",
            )
        return result

    return wrapped_train_step(model, step)


def _measured_waiting(optimizer: Any) -> contextlib.AbstractContextManager[None]:
    """Returns a context manager in which layers tell the optimizer's clock how long they wait."""
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is None:
        return contextlib.nullcontext()
    return recording_waiting(synchronizer.reduction.measured().record_waiting)
