"""Replaces slow layers of a model with faster equivalents."""

from __future__ import annotations

import keras
import tensorflow as tf

from hvd_imgcls.keras.layers.class_change import change_class
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


def accelerate(model: keras.Model) -> keras.Model:
    """Makes a model's batch normalisation faster, and on CPUs its GELU, in-place.

    Call it before `compile`, or compile again: functions that are already traced do not change.
    Layers of other classes, such as custom subclasses, keep their batch normalisation.

    Args:
        model: Any Keras 3 model, built or not, including nested models.

    Returns:
        The same model. It is saved as a plain Keras model.
    """
    on_cpu = not tf.config.get_visible_devices("GPU")
    for layer in model._flatten_layers():
        fused = _FUSED.get(type(layer))
        if fused is not None:
            change_class(layer, fused)
        if on_cpu and getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = gelu
    return model
