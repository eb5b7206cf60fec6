"""The 3 x 3 convolution with batch normalisation that the small networks are made of."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.models.batch_normalization import batch_normalization


def normalized_convolution(
    features: Any, num_filters: int, name: str, *, strides: int = 1, has_relu: bool = True
) -> Any:
    """Returns features after a 3 x 3 convolution without bias, normalisation and ReLU.

    Args:
        features: `[batch, height, width, channels]`.
        num_filters: Channels of the result.
        name: Prefix of the layers' names.
        strides: Step of the convolution in both directions.
        has_relu: Whether there is a ReLU.
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
