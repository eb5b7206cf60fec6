"""The residual networks for small images of He et al. 2015 (arXiv:1512.03385, section 4.2)."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.models import CifarResNet
from hvd_imgcls.models.convolution import normalized_convolution

NUM_FILTERS = (16, 32, 64)
"""Filters of the three stages, as in the paper."""


def build_cifar_resnet(
    config: CifarResNet,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds the residual network with 20, 32 or 56 layers.

    A network of 6 n + 2 layers has three stages of n residual blocks with two 3 by 3
    convolutions. Shortcuts have no parameters (option A): where the filters double, the input is
    subsampled by 2 and zero-padded along the channels. Initial weights: He et al. 2015
    (arXiv:1502.01852).

    Args:
        config: Defines the number of layers.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the first convolution.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.
    """
    num_layers = int(config.name.removeprefix("resnet"))
    images = keras.Input(shape=image_shape, name="images")
    features = normalized_convolution(normalize(images), NUM_FILTERS[0], "stem")
    for stage, num_filters in enumerate(NUM_FILTERS, start=1):
        for number in range(1, (num_layers - 2) // 6 + 1):
            halves = stage > 1 and number == 1
            features = _block(features, num_filters, halves, f"stage_{stage}_{number}")
    features = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
    logits = keras.layers.Dense(
        num_classes, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(features)
    return keras.Model(images, logits, name=config.name)


def _block(features: Any, num_filters: int, halves: bool, name: str) -> Any:
    layers = keras.layers
    strides = 2 if halves else 1
    branch = normalized_convolution(features, num_filters, f"{name}_1", strides=strides)
    branch = normalized_convolution(branch, num_filters, f"{name}_2", has_relu=False)
    shortcut = features
    if halves:
        # Pooling over one pixel with stride 2 subsamples in both directions.
        shortcut = layers.MaxPooling2D(1, strides=2, name=f"{name}_subsample")(shortcut)
        new = num_filters - features.shape[-1]
        added = ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2))
        shortcut = keras.ops.pad(shortcut, added)
    total = layers.Add(name=f"{name}_add")([branch, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(total)
