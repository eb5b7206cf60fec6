"""The residual networks for photographs of He et al. 2015 (arXiv:1512.03385), version 1.5."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.models import ResNet
from hvd_imgcls.models.batch_normalization import batch_normalization

NUM_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""Blocks of the four stages (table 1 of the paper)."""

FIRST_NUM_FILTERS = 64
"""Filters of the first stage; they double in every later stage."""

BOTTLENECK_EXPANSION = 4
"""Ratio of a bottleneck block's output channels to those of its 3 by 3 convolution."""

HEAD_DEVIATION = 0.01
"""Standard deviation of the last layer's initial weights (Goyal et al. 2017, section 5.1)."""


def build_resnet(
    config: ResNet,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds the residual network with 18, 34 or 50 layers.

    Version 1.5 (Goyal et al. 2017, arXiv:1706.02677, section 5.1): a bottleneck block
    downsamples in its 3 by 3 convolution. Convolutions with stride 2 are padded symmetrically, as
    in the reference code. Initial weights of convolutions: He et al. 2015 (arXiv:1502.01852),
    in fan-out mode, as in the reference code.

    Args:
        config: Defines the number of layers, the stem and the initial scales.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the first convolution.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.
    """
    layers = keras.layers
    block = _bottleneck if config.name == "resnet50" else _basic_block
    images = keras.Input(shape=image_shape, name="images")
    features = _stem(normalize(images), config.stem)
    for stage, num_blocks in enumerate(NUM_BLOCKS[config.name], start=1):
        for number in range(1, num_blocks + 1):
            features = block(
                features,
                FIRST_NUM_FILTERS * 2 ** (stage - 1),
                2 if stage > 1 and number == 1 else 1,
                "zeros" if config.zero_gamma else "ones",
                f"stage_{stage}_{number}",
            )
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=HEAD_DEVIATION),
        dtype="float32",
        name="logits",
    )(features)
    return keras.Model(images, logits, name=config.name)


def _stem(features: Any, kind: str) -> Any:
    layers = keras.layers
    if kind == "small":
        features = _convolution(features, FIRST_NUM_FILTERS, 3, 1, "stem")
        return layers.Activation("relu", name="stem_relu")(features)
    features = _convolution(features, FIRST_NUM_FILTERS, 7, 2, "stem")
    features = layers.Activation("relu", name="stem_relu")(features)
    # After a ReLU, zero padding does not change the maximum.
    features = layers.ZeroPadding2D(1, name="stem_pool_pad")(features)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(features)


def _basic_block(
    features: Any, num_filters: int, strides: int, gamma_initializer: str, name: str
) -> Any:
    branch = _convolution(features, num_filters, 3, strides, f"{name}_1")
    branch = keras.layers.Activation("relu", name=f"{name}_1_relu")(branch)
    branch = _convolution(branch, num_filters, 3, 1, f"{name}_2", gamma_initializer)
    return _joined(branch, _shortcut(features, num_filters, strides, name), name)


def _bottleneck(
    features: Any, num_filters: int, strides: int, gamma_initializer: str, name: str
) -> Any:
    num_outputs = BOTTLENECK_EXPANSION * num_filters
    branch = _convolution(features, num_filters, 1, 1, f"{name}_1")
    branch = keras.layers.Activation("relu", name=f"{name}_1_relu")(branch)
    branch = _convolution(branch, num_filters, 3, strides, f"{name}_2")
    branch = keras.layers.Activation("relu", name=f"{name}_2_relu")(branch)
    branch = _convolution(branch, num_outputs, 1, 1, f"{name}_3", gamma_initializer)
    return _joined(branch, _shortcut(features, num_outputs, strides, name), name)


def _shortcut(features: Any, num_outputs: int, strides: int, name: str) -> Any:
    """Returns the input, projected if its shape differs (option B of the paper)."""
    if strides == 1 and features.shape[-1] == num_outputs:
        return features
    return _convolution(features, num_outputs, 1, strides, f"{name}_shortcut")


def _joined(branch: Any, shortcut: Any, name: str) -> Any:
    total = keras.layers.Add(name=f"{name}_add")([branch, shortcut])
    return keras.layers.Activation("relu", name=f"{name}_relu")(total)


def _convolution(
    features: Any,
    num_filters: int,
    kernel_size: int,
    strides: int,
    name: str,
    gamma_initializer: str = "ones",
) -> Any:
    """Returns a convolution and its batch normalisation."""
    padding = "same"
    if strides > 1 and kernel_size > 1:
        features = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(features)
        padding = "valid"
    features = keras.layers.Conv2D(
        num_filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(features)
    return batch_normalization(f"{name}_bn", gamma_initializer=gamma_initializer)(features)
