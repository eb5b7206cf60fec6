"""Replaces slow layers of a model with faster equivalents."""

from __future__ import annotations

import keras
import tensorflow as tf

from hvd_imgcls.keras.layers.class_change import change_class
from hvd_imgcls.keras.layers.compiled_gradients import compile_gradients
from hvd_imgcls.keras.layers.fused_batch_normalization import (
    FusedBatchNormalization,
    FusedSyncBatchNormalization,
)
from hvd_imgcls.keras.layers.fused_gelu import gelu
from hvd_imgcls.keras.layers.sync_batch_normalization import SyncBatchNormalization

_FUSED: dict[type, type] = {
    keras.layers.BatchNormalization: FusedBatchNormalization,
    SyncBatchNormalization: FusedSyncBatchNormalization,
}


def accelerate(model: keras.Model, *, jit_compile: bool = False) -> keras.Model:
    """Makes a model's batch normalisation faster, and on CPUs its GELU, in-place.

    Call it before `compile`, or compile again: functions that are already traced do not change.
    Layers of other classes, such as custom subclasses, keep their batch normalisation.

    Args:
        model: Any Keras 3 model, built or not, including nested models.
        jit_compile: Whether forward and backward pass of the training step are compiled with XLA.
            Gradients leave the compiled function to be reduced. Pass `jit_compile=False` to
            `compile`, which would compile the reduction as well. On CPUs, convolutions are slower.

    Returns:
        The same model. It is saved as a plain Keras model.

    Raises:
        ConfigError: With `jit_compile`, if the model has a `train_step` of its own, or if its
            batch normalisation is synchronised.
    """
    on_cpu = not tf.config.get_visible_devices("GPU")
    for layer in model._flatten_layers():
        fused = _FUSED.get(type(layer))
        if fused is not None:
            change_class(layer, fused)
        if on_cpu and getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = gelu
    if jit_compile:
        compile_gradients(model)
    return model
