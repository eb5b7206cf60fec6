"""A network for training on small images in few epochs, with whitening in its first layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from hvd_imgcls.config.image_sizes import require_size_for_model
from hvd_imgcls.config.models import FastCnn

WHITENING = "whitening"
# Added to the variances of the patches; Jordan 2024 (arXiv:2404.00498), section 3.3.
_EPSILON = 5e-4
_PATCH = 2


def build_fast_cnn(
    config: FastCnn,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds the network of Jordan 2024 (arXiv:2404.00498, section 3).

    Call `whiten` before training it.

    Args:
        config: The sizes of the blocks.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of the first convolution.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        ConfigError: If the images are too small for three blocks.
    """
    require_size_for_model(config, image_shape)
    layers = keras.layers
    images = keras.Input(shape=image_shape, name="images")
    features = layers.Conv2D(
        2 * _PATCH * _PATCH * image_shape[2], _PATCH, activation="gelu", name=WHITENING
    )(normalize(images))
    for block, num_filters in enumerate(config.num_filters, start=1):
        features = _convolution(f"block_{block}_1", num_filters, features)
        features = layers.MaxPooling2D(2, name=f"block_{block}_pool")(features)
        features = _normalized(f"block_{block}_1", features)
        features = _convolution(f"block_{block}_2", num_filters, features)
        features = _normalized(f"block_{block}_2", features)
    features = layers.GlobalMaxPooling2D(name="pooling")(features)
    features = layers.Dense(
        num_classes, use_bias=False, kernel_initializer=_initializer(), name="head"
    )(features)
    logits = layers.Rescaling(config.logit_scale, dtype="float32", name="logits")(features)
    model = keras.Model(images, logits, name="fast_cnn")
    model.get_layer(WHITENING).kernel.trainable = False
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.name != WHITENING:
            _begin_as_identity(layer)
    return model


def whiten(model: keras.Model, images: npt.NDArray[np.uint8]) -> None:
    """Sets the first layer's filters such that its outputs are uncorrelated, with variance 1.

    The filters are the eigenvectors of the covariance of 2 by 2 patches, divided by the root of
    their eigenvalues, and their negatives (Page 2019, "How to train your ResNet", part 8;
    Jordan 2024, section 3.2).

    Args:
        model: A model built by `build_fast_cnn`.
        images: Training images, `[examples, height, width, channels]`, uint8.
    """
    layer = model.get_layer(WHITENING)
    before = keras.Model(model.input, layer.input)
    pixels = np.asarray(
        keras.ops.convert_to_numpy(keras.ops.cast(before(images), "float32")), np.float64
    )
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (_PATCH, _PATCH), axis=(1, 2))
    # From `[examples, rows, columns, channels, 2, 2]` to patches in the order of a kernel.
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, _PATCH * _PATCH * pixels.shape[-1])
    variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    # The sign of an eigenvector is arbitrary: both signs are used, so the first is the one
    # whose largest component is positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.sign(vectors[largest, np.arange(len(variances))])
    filters = (vectors / np.sqrt(variances + _EPSILON)).reshape(_PATCH, _PATCH, -1, len(variances))
    layer.kernel.assign(np.concatenate([filters, -filters], axis=-1).astype(np.float32))


def _convolution(name: str, num_filters: int, features: Any) -> Any:
    return keras.layers.Conv2D(
        num_filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=f"{name}_conv",
    )(features)


def _initializer() -> keras.initializers.Initializer:
    """Returns uniform within 1 / sqrt(fan_in), PyTorch's default, which the paper uses."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def _normalized(name: str, features: Any) -> Any:
    # Momentum as in the paper; a scale would be another parameter to tune.
    features = keras.layers.BatchNormalization(
        momentum=0.6, epsilon=1e-6, scale=False, name=f"{name}_bn"
    )(features)
    return keras.layers.Activation("gelu", name=f"{name}_gelu")(features)


def _begin_as_identity(layer: keras.layers.Conv2D) -> None:
    """Initialises the first filters to pass on their input channel (Jordan 2024, section 3.3)."""
    kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
    height, width, channels, filters = kernel.shape
    for channel in range(min(channels, filters)):
        kernel[..., channel] = 0
        kernel[height // 2, width // 2, channel, channel] = 1
    layer.kernel.assign(kernel)
