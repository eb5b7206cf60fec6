"""A small vision transformer, in plain Keras layers."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.image_sizes import require_size_for_model
from hvd_imgcls.config.models import Vit

LAYER_NORM_EPSILON = 1e-6
"""As in the published code of Dosovitskiy et al. 2020."""

POSITION_DEVIATION = 0.02
"""Standard deviation of the initial position embeddings, as in the published code."""


def build_vit(
    config: Vit,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds a transformer over the patches of an image.

    After Dosovitskiy et al. 2020 (arXiv:2010.11929) with learned position embeddings; global
    average pooling instead of a class token (Beyer et al. 2022, arXiv:2205.01580).

    Args:
        config: The sizes.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the patch embedding.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        ConfigError: If height or width is not a multiple of the patch size.
    """
    require_size_for_model(config, image_shape)
    layers = keras.layers
    images = keras.Input(shape=image_shape, name="images")
    features = _embed_patches(normalize(images), config)
    features = layers.Dropout(config.dropout, name="embedding_dropout")(features)
    for number in range(1, config.depth + 1):
        features = _block(features, config, f"block_{number}")
    features = _normalized(features, "last_norm")
    features = layers.GlobalAveragePooling1D(name="pooling")(features)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="vit")


def _embed_patches(pixels: Any, config: Vit) -> Any:
    """Returns one vector per patch, `[batch, patches, width]`, in row-major order."""
    layers, size = keras.layers, config.patch_size
    _, height, width, channels = pixels.shape
    num_rows, num_columns = height // size, width // size
    patches = layers.Reshape((num_rows, size, num_columns, size * channels), name="rows")(pixels)
    patches = layers.Permute((1, 3, 2, 4), name="columns")(patches)
    patches = layers.Reshape((num_rows * num_columns, size * size * channels), name="patches")(
        patches
    )
    # One bias per patch: the position embeddings together with the bias of the projection.
    return layers.EinsumDense(
        "bpi,io->bpo",
        output_shape=(num_rows * num_columns, config.width),
        bias_axes="po",
        bias_initializer=keras.initializers.RandomNormal(stddev=POSITION_DEVIATION),
        name="embedding",
    )(patches)


def _block(features: Any, config: Vit, name: str) -> Any:
    layers = keras.layers
    attended = _normalized(features, f"{name}_attention_norm")
    attended = layers.MultiHeadAttention(
        config.num_heads, config.width // config.num_heads, name=f"{name}_attention"
    )(attended, attended)
    attended = layers.Dropout(config.dropout, name=f"{name}_attention_dropout")(attended)
    features = layers.Add(name=f"{name}_attention_add")([features, attended])

    num_units = max(1, round(config.mlp_ratio * config.width))
    hidden = _normalized(features, f"{name}_mlp_norm")
    hidden = layers.Dense(num_units, activation="gelu", name=f"{name}_mlp_1")(hidden)
    hidden = layers.Dropout(config.dropout, name=f"{name}_mlp_1_dropout")(hidden)
    hidden = layers.Dense(config.width, name=f"{name}_mlp_2")(hidden)
    hidden = layers.Dropout(config.dropout, name=f"{name}_mlp_2_dropout")(hidden)
    return layers.Add(name=f"{name}_mlp_add")([features, hidden])


def _normalized(features: Any, name: str) -> Any:
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name)(features)
