"""A network for small images that trains in seconds."""

from __future__ import annotations

import keras

from hvd_imgcls.config.image_sizes import require_size_for_model
from hvd_imgcls.config.models import SmallCnn


def build_small_cnn(
    config: SmallCnn,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds two convolutions and two dense layers, without batch normalisation.

    The output for an example does not depend on other examples in the batch, so it is the
    same on any number of ranks.

    Args:
        config: The sizes of the layers.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the first convolution.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        ConfigError: If the images have a single row or column.
    """
    require_size_for_model(config, image_shape)
    layers = keras.layers
    first, second = config.num_filters
    images = keras.Input(shape=image_shape, name="images")
    features = normalize(images)
    features = layers.Conv2D(first, 3, padding="same", activation="relu", name="conv_1")(features)
    features = layers.Conv2D(second, 3, padding="same", activation="relu", name="conv_2")(features)
    features = layers.MaxPooling2D(2, name="pooling")(features)
    features = layers.Flatten(name="flatten")(features)
    features = layers.Dense(config.num_hidden_units, activation="relu", name="dense_1")(features)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="small_cnn")
