"""A plain deeper network: blocks of convolutions without shortcuts."""

from __future__ import annotations

import keras

from hvd_imgcls.config.models import PlainCnn
from hvd_imgcls.models.convolution import normalized_convolution


def build_plain_cnn(
    config: PlainCnn,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds blocks of 3 by 3 convolutions, global average pooling and a dense layer.

    After Simonyan and Zisserman 2014 (arXiv:1409.1556), with batch normalisation and without
    their dense layers. Initial weights: He et al. 2015 (arXiv:1502.01852).

    Args:
        config: The sizes of the blocks.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the first convolution.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.
    """
    layers = keras.layers
    images = keras.Input(shape=image_shape, name="images")
    features = normalize(images)
    for block, num_filters in enumerate(config.num_filters, start=1):
        for number in range(1, config.num_convolutions + 1):
            name = f"block_{block}_{number}"
            features = normalized_convolution(features, num_filters, name)
        # "same": an image of one pixel keeps its size.
        features = layers.MaxPooling2D(2, padding="same", name=f"block_{block}_pool")(features)
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    if config.dropout:
        features = layers.Dropout(config.dropout, name="dropout")(features)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="plain_cnn")
