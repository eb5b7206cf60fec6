"""Compiles the forward and backward pass of a model with XLA, and nothing else of its step.

XLA has no kernels for Horovod's operations. Gradients therefore leave the compiled function, and
are reduced and applied outside of it.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.layers.sync_batch_normalization import SyncBatchNormalization


class CompiledGradients:
    """The training step of a model, in place of `keras.Model.train_step`.

    Args:
        model: The model.

    Raises:
        ConfigError: If the model has a training step of its own, or layers that communicate.
    """

    def __init__(self, model: keras.Model) -> None:
        if type(model).train_step is not keras.Model.train_step:
            raise ConfigError(
                "jit_compile",
                got=f"{type(model).__name__}, which has a train_step of its own",
                expected="a model with Keras's train_step",
                fix="compile what does not communicate in your train_step with tf.function",
            )
        synchronized = [
            layer.name
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, SyncBatchNormalization)
        ]
        if synchronized:
            raise ConfigError(
                "jit_compile",
                got=f"synchronised batch normalisation: {', '.join(synchronized[:3])}",
                expected="layers that do not communicate: XLA has no kernels for Horovod",
                fix="omit jit_compile, or do not synchronise batch normalisation",
            )
        self._model = model

    @without_autograph
    def __call__(self, data: Any) -> Any:
        """Trains on one batch and returns the metrics, as `keras.Model.train_step` does."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # Within the step that is traced, and again whenever that is.
        compute = tf.function(self._compute, jit_compile=True, autograph=False)
        loss, y_pred, gradients = compute(x, y, sample_weight)
        batch_size = tf.shape(next(one for one in tf.nest.flatten(x) if one is not None))[0]
        model._loss_tracker.update_state(loss, sample_weight=batch_size)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _compute(self, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, list[Any]]:
        """Returns the loss, the outputs, and the gradients of the trainable weights."""
        model = self._model
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
            loss = model._compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_weights)
        # XLA returns dense tensors only.
        return loss, y_pred, [None if g is None else tf.convert_to_tensor(g) for g in gradients]


def compile_gradients(model: keras.Model) -> None:
    """Compiles the forward and backward pass of a model's training step with XLA, in-place.

    Args:
        model: A model with Keras's `train_step`, whose layers do not communicate.

    Raises:
        ConfigError: For another one.
    """
    # On the instance, in front of the class's method. Not `setattr`, which Keras tracks.
    vars(model)["train_step"] = CompiledGradients(model)
