"""The 3 by 3 convolution with batch normalisation used in the small networks."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.models.batch_normalization import batch_normalization


def normalized_convolution(
    features: Any, num_filters: int, name: str, *, strides: int = 1, has_relu: bool = True
) -> Any:
    """Applies a 3 by 3 convolution without bias, batch normalisation and a ReLU.

    Args:
        features: `[batch, height, width, channels]`.
        num_filters: Number of output channels.
        name: Prefix of the layers' names.
        strides: Stride in both directions.
        has_relu: Whether to apply the ReLU.
    """
    features = keras.layers.Conv2D(
        num_filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(features)
    features = batch_normalization(f"{name}_bn")(features)
    return keras.layers.Activation("relu", name=f"{name}_relu")(features) if has_relu else features
