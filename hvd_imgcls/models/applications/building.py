"""Models of `keras.applications` as classifiers of our images."""

from __future__ import annotations

import logging
from typing import Any

import keras

from hvd_imgcls.config.models import KerasApplication
from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.config.models.imagenet_files import IMAGENET, keras_models_folder
from hvd_imgcls.errors import CheckpointError, ConfigError, first_line
from hvd_imgcls.models.applications.imagenet_download import fetch
from hvd_imgcls.models.applications.imagenet_sources import published_file
from hvd_imgcls.models.applications.known import APPLICATIONS, preprocess
from hvd_imgcls.models.applications.weights_files import Loaded, load_application_weights

logger = logging.getLogger(__name__)

NUM_CHANNELS = 3


def build_keras_application(
    config: KerasApplication,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds a model of `keras.applications` with a last layer for our classes.

    Layers between the pooling and the last layer are kept (such as VGG's dense layers).
    ImageNet weights are downloaded if they are not in Keras's folder.

    Args:
        config: Which model, its weights, and dropout.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: Not used: each model has its own.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        ConfigError: If the model cannot be built for such images.
        CheckpointError: If the weights file does not fit the model, or cannot be downloaded.
    """
    images = keras.Input(shape=image_shape, name="images")
    application = _build(config.application, images, num_classes)
    head = last_weighted_layer(application)
    has_head_weights = False
    if config.weights == IMAGENET:
        has_head_weights = _load_imagenet(application, head, config, image_shape).has_head
    elif config.weights is not None:
        loaded = load_application_weights(application, head, config.application, config.weights)
        has_head_weights = loaded.has_head
        logger.info("%s", loaded.text)
    features = _input_of(head)
    if config.dropout is not None:
        features = _without_dropout(features)
    if len(features.shape) == 4:  # the last layer is a 1 by 1 convolution
        features = keras.layers.Flatten(name="flatten_features")(features)
    if config.dropout:
        features = keras.layers.Dropout(config.dropout, name="head_dropout")(features)
    new_head = keras.layers.Dense(num_classes, dtype="float32", name="class_logits")
    model = keras.Model(images, new_head(features), name=config.application.lower())
    if has_head_weights:
        kernel, bias = head.get_weights()
        new_head.set_weights([kernel.reshape(-1, num_classes), bias])
    return model


def _build(name: ApplicationName, images: Any, num_classes: int) -> keras.Model:
    """Returns the unmodified Keras model, on top of its own normalisation of pixels."""
    image_shape = tuple(images.shape[1:])
    if image_shape[2] != NUM_CHANNELS:
        raise ConfigError(
            "model.application",
            got=f"{name} for images with {image_shape[2]} channel",
            expected=f"images with {NUM_CHANNELS} channels",
            fix="set data.num_channels to 3, or choose another model",
        )
    pixels = preprocess(images, APPLICATIONS[name].pixels)
    try:
        return getattr(keras.applications, name)(
            weights=None,
            input_tensor=pixels,
            input_shape=image_shape,
            classes=num_classes,
            classifier_activation=None,
        )
    except ValueError as error:
        raise ConfigError(
            "data.image_size",
            got=f"{image_shape[0]} by {image_shape[1]} pixels",
            expected=f"images that {name} can be built for ({first_line(error)})",
            fix="increase it, or choose another model",
        ) from error


def _load_imagenet(
    model: keras.Model, head: Any, config: KerasApplication, image_shape: tuple[int, int, int]
) -> Loaded:
    """Loads the published weights."""
    file = published_file(config.application, image_shape[:2], model.output_shape[-1])
    path = fetch(file, keras_models_folder())
    try:
        loaded = load_application_weights(model, head, config.application, str(path))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; for model.weights: {IMAGENET}, delete it, and it is downloaded again"
        ) from error
    logger.info("%s", loaded.text)
    if loaded.has_head:
        logger.info("the last layer is that of ImageNet, for its classes in their order")
    if loaded.new_below_head:
        logger.warning(
            "%s: layers before the last one are new, because the published ones are for 224 by "
            "224 pixels: %s; set data.image_size to 224 to use them",
            config.application,
            ", ".join(loaded.new_below_head),
        )
    return loaded


def last_weighted_layer(model: keras.Model) -> Any:
    """Returns the last layer with weights on the direct path to the output."""
    tensor = model.outputs[0]
    while True:
        layer = tensor._keras_history.operation
        if getattr(layer, "weights", None):
            return layer
        tensor = _input_of(layer)


def _input_of(layer: Any) -> Any:
    """Returns the input tensor of a layer that was called once."""
    (node,) = layer._inbound_nodes
    (tensor,) = node.input_tensors
    return tensor


def _without_dropout(features: Any) -> Any:
    """Returns the input of a dropout layer, if these features come from one."""
    layer = features._keras_history.operation
    return _input_of(layer) if isinstance(layer, keras.layers.Dropout) else features
