"""A convolutional autoencoder, and the classifier that shares its encoder.

    autoencoder = build_autoencoder(config, image_shape)
    autoencoder.whole.compile("adam", "mse")
    autoencoder.whole.fit(images, images / 255)
    classifier = build_cae(config, image_shape, 10, encoder=autoencoder.encoder)

In both networks the encoder is one layer, named "encoder". To load the encoder of a saved
autoencoder: `classifier.get_layer("encoder").set_weights(saved.get_layer("encoder").get_weights())`
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

from hvd_imgcls.config.models import Cae
from hvd_imgcls.models.convolution import normalized_convolution
from hvd_imgcls.models.normalization import MAX_PIXEL


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """The parts of an autoencoder; they share their variables.

    Attributes:
        encoder: From images `[batch, height, width, channels]` with pixels 0 .. 255 to a code
            `[batch, code_height, code_width, code_channels]`.
        decoder: From codes to images with pixels 0 .. 1, float32.
        whole: From images with pixels 0 .. 255 to images with pixels 0 .. 1, float32.
    """

    encoder: keras.Model
    decoder: keras.Model
    whole: keras.Model


def build_autoencoder(
    config: Cae,
    image_shape: tuple[int, int, int],
    normalize: keras.layers.Layer | None = None,
    *,
    encoder: keras.Model | None = None,
) -> Autoencoder:
    """Builds an autoencoder similar to Masci et al. 2011 (doi 10.1007/978-3-642-21735-7_7).

    Args:
        config: The sizes of its layers.
        image_shape: Height, width and channels.
        normalize: From pixels 0 .. 255 to the input of the first convolution; pixels divided by
            255 when None.
        encoder: The encoder of a classifier, to share; a new one when None.
    """
    encoder = encoder or _build_encoder(config, image_shape, normalize)
    decoder = _build_decoder(config, image_shape)
    images = keras.Input(shape=image_shape, name="images")
    whole = keras.Model(images, decoder(encoder(images)), name="autoencoder")
    return Autoencoder(encoder, decoder, whole)


def build_cae(
    config: Cae,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer | None = None,
    *,
    encoder: keras.Model | None = None,
) -> keras.Model:
    """Builds a classifier on top of an encoder.

    Args:
        config: The sizes of the layers, and the input of the classifier.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the input of a new encoder; pixels divided by 255 when
            None.
        encoder: The encoder of an autoencoder, to share; a new one when None.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.
    """
    layers = keras.layers
    images = keras.Input(shape=image_shape, name="images")
    code = (encoder or _build_encoder(config, image_shape, normalize))(images)
    if config.features == "average":
        features = layers.GlobalAveragePooling2D(name="pooling")(code)
    else:
        features = layers.Flatten(name="flatten")(code)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="cae")


def _build_encoder(
    config: Cae, image_shape: tuple[int, int, int], normalize: keras.layers.Layer | None
) -> keras.Model:
    images = keras.Input(shape=image_shape, name="images")
    normalize = normalize or keras.layers.Rescaling(1 / MAX_PIXEL, name="rescaling")
    code = normalize(images)
    for number, num_filters in enumerate(config.num_filters, start=1):
        code = normalized_convolution(code, num_filters, f"encoder_{number}", strides=2)
    return keras.Model(images, code, name="encoder")


def _build_decoder(config: Cae, image_shape: tuple[int, int, int]) -> keras.Model:
    """Builds the decoder: each level is upsampled to the size of the previous encoder level."""
    layers = keras.layers
    height, width, num_channels = image_shape
    sizes = [(height, width)]
    for _ in config.num_filters:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    code_shape = (*sizes.pop(), config.num_filters[-1])
    code = image = keras.Input(shape=code_shape, name="code")
    for number in range(len(config.num_filters), 0, -1):
        name, (level_height, level_width) = f"decoder_{number}", sizes.pop()
        image = layers.UpSampling2D(2, name=f"{name}_enlarge")(image)
        # Odd sizes were rounded up by the encoder.
        surplus = ((0, level_height % 2), (0, level_width % 2))
        image = layers.Cropping2D(surplus, name=f"{name}_crop")(image)
        if number > 1:
            image = normalized_convolution(image, config.num_filters[number - 2], name)
    pixels = layers.Conv2D(
        num_channels, 3, padding="same", activation="sigmoid", dtype="float32", name="pixels"
    )(image)
    return keras.Model(code, pixels, name="decoder")
