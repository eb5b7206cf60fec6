"""The table of all models by their names in a pipeline file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from hvd_imgcls.config import models as sections
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.models.applications.building import build_keras_application
from hvd_imgcls.models.autoencoder import build_cae
from hvd_imgcls.models.cifar_resnet import build_cifar_resnet
from hvd_imgcls.models.fast_cnn import build_fast_cnn
from hvd_imgcls.models.files import build_keras_file
from hvd_imgcls.models.keras_hub import build_keras_hub
from hvd_imgcls.models.plain_cnn import build_plain_cnn
from hvd_imgcls.models.resnet import build_resnet
from hvd_imgcls.models.small_cnn import build_small_cnn
from hvd_imgcls.models.vit import build_vit


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One model.

    Attributes:
        build: Takes its section of the configuration, the image shape, the number of classes
            and the layer that normalises pixels.
        description: One line.
        section: Returns its section with the defaults; None if it has no defaults.
        image_size: Height and width that it was designed for; 0 if any.
        num_classes: Number of classes of the dataset that it was designed for; 0 if any.
    """

    build: Callable[[Any, tuple[int, int, int], int, keras.layers.Layer], keras.Model]
    description: str
    section: Callable[[], Any] | None = None
    image_size: int = 0
    num_classes: int = 0


def no_model_given() -> ConfigError:
    """Returns the error for a configuration with `name: given` but no model."""
    return ConfigError(
        "model.name",
        got="given",
        expected="a program that calls train(config, model=...)",
        fix="choose a model that `hvd-imgcls models` lists",
    )


def _refuse_given(
    config: sections.GivenModel,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    raise no_model_given()


def _small(build: Any, section: Any, name: str, description: str) -> Entry:
    """Returns the entry of a model for CIFAR-10: 32 by 32 pixels, 10 classes."""
    return Entry(
        build=build,
        description=description,
        section=lambda: section(name=name),
        image_size=32,
        num_classes=10,
    )


def _large(build: Any, section: Any, name: str, description: str) -> Entry:
    """Returns the entry of a model for ImageNet: 224 by 224 pixels, 1,000 classes."""
    return Entry(
        build=build,
        description=description,
        section=lambda: section(name=name),
        image_size=224,
        num_classes=1000,
    )


_CIFAR_RESNET = "residual network of {} layers for small images (arXiv:1512.03385, section 4.2)"
_RESNET = "residual network of {} layers for photographs, version 1.5 (arXiv:1512.03385)"

MODELS = {
    "small_cnn": _small(
        build_small_cnn,
        sections.SmallCnn,
        "small_cnn",
        "two convolutions and two dense layers, without batch normalisation",
    ),
    "plain_cnn": _small(
        build_plain_cnn,
        sections.PlainCnn,
        "plain_cnn",
        "six convolutions in three blocks, without shortcuts (after arXiv:1409.1556)",
    ),
    "fast_cnn": _small(
        build_fast_cnn,
        sections.FastCnn,
        "fast_cnn",
        "six convolutions on whitened patches, for few epochs (after arXiv:2404.00498)",
    ),
    "cae": _small(
        build_cae,
        sections.Cae,
        "cae",
        "encoder of a convolutional autoencoder, with a classifier on top",
    ),
    "vit": _small(
        build_vit,
        sections.Vit,
        "vit",
        "small vision transformer (arXiv:2010.11929, without class token)",
    ),
    **{
        f"resnet{layers}": _small(
            build_cifar_resnet,
            sections.CifarResNet,
            f"resnet{layers}",
            _CIFAR_RESNET.format(layers),
        )
        for layers in (20, 32, 56)
    },
    **{
        f"resnet{layers}": _large(
            build_resnet, sections.ResNet, f"resnet{layers}", _RESNET.format(layers)
        )
        for layers in (18, 34, 50)
    },
    "keras_application": Entry(
        build=build_keras_application,
        description="any model of keras.applications, with ImageNet weights or from your file",
    ),
    "keras_file": Entry(
        build=build_keras_file,
        description="a model from a .keras file, with a last layer for your classes",
    ),
    "keras_hub": Entry(
        build=build_keras_hub,
        description="an image classifier of KerasHub, by preset or from a directory",
    ),
    "given": Entry(
        build=_refuse_given,
        description="your own model in Python: train(config, model=...)",
    ),
}
"""In the order of the list."""
