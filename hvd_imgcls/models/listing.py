"""The list of `hvd-imgcls models`: every model with its size."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from hvd_imgcls.config.models import KerasApplication
from hvd_imgcls.config.models.imagenet_files import IMAGENET, NUM_IMAGENET_CLASSES
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.models import build_model
from hvd_imgcls.models.applications.known import APPLICATIONS
from hvd_imgcls.models.keras_hub_presets import is_installed, presets
from hvd_imgcls.models.multiply_adds import count_multiply_adds
from hvd_imgcls.models.table import MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The images for which the models are built.

    Attributes:
        image_size: Height and width in pixels; each model's default when None.
        num_channels: Channels.
        num_classes: Number of classes; each model's default when None.
    """

    image_size: int | None = None
    num_channels: int = 3
    num_classes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model of the list.

    Attributes:
        name: Value of `model.name`; of `model.application` for models of `keras.applications`, of
            `model.preset` for those of KerasHub.
        description: One line.
        image_size: Height and width that the numbers are for; None without numbers.
        num_channels: Channels; None without numbers.
        num_classes: Number of classes; None without numbers.
        num_parameters: Total number of weights, including moving statistics.
        num_trainable_parameters: Number of trainable weights.
        multiply_adds: Multiply-adds for one image (see `count_multiply_adds`).
        weights: Published weights that can be had by name: a value of `model.weights` or
            `model.preset`.
        problem: Why there are no numbers, if the model cannot be built for such images.
    """

    name: str
    description: str
    image_size: int | None = None
    num_channels: int | None = None
    num_classes: int | None = None
    num_parameters: int | None = None
    num_trainable_parameters: int | None = None
    multiply_adds: int | None = None
    weights: str | None = None
    problem: str | None = None


def list_models(request: Request) -> Iterator[Row]:
    """Yields every model of the table, in order, with its default sizes."""
    for name, entry in MODELS.items():
        if entry.section is None:
            yield Row(name=name, description=entry.description)
        else:
            yield _measured(
                name,
                entry.description,
                entry.section(),
                request,
                (entry.image_size, entry.num_classes),
            )


def known_applications() -> Iterator[Row]:
    """Yields every model of `keras.applications` with its default sizes, without building it."""
    for name, application in APPLICATIONS.items():
        yield Row(
            name=name,
            description=f"weights: {IMAGENET}",
            image_size=application.image_size,
            num_channels=3,
            num_classes=NUM_IMAGENET_CLASSES,
            num_trainable_parameters=application.num_parameters,
            weights=IMAGENET,
        )


def known_presets() -> Iterator[Row]:
    """Yields KerasHub's presets of image classifiers; none if it is not installed."""
    if not is_installed():
        return
    for name, preset in sorted(presets().items()):
        metadata = preset["metadata"]
        yield Row(
            name=name,
            description=metadata["description"],
            num_parameters=metadata["params"],
            weights=name,
        )


def list_applications(request: Request) -> Iterator[Row]:
    """Yields every model of `keras.applications`; each takes seconds to build."""
    for name, application in APPLICATIONS.items():
        section = KerasApplication(name="keras_application", application=name)
        defaults = (application.image_size, NUM_IMAGENET_CLASSES)
        row = _measured(name, f"weights: {IMAGENET}", section, request, defaults)
        yield dataclasses.replace(row, weights=IMAGENET)


def _measured(
    name: str, description: str, section: Any, request: Request, defaults: tuple[int, int]
) -> Row:
    """Builds a model and returns its numbers; `own` is its default image size and classes."""
    size = request.image_size or defaults[0]
    num_classes = request.num_classes or defaults[1]
    place: dict[str, Any] = {
        "name": name,
        "description": description,
        "image_size": size,
        "num_channels": request.num_channels,
        "num_classes": num_classes,
    }
    with _own_memory():
        try:
            model = build_model(section, (size, size, request.num_channels), num_classes)
        except ConfigError as error:
            return Row(**place, problem=str(error))
        return Row(
            **place,
            num_parameters=model.count_params(),
            num_trainable_parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
            multiply_adds=count_multiply_adds(model),
        )


@contextlib.contextmanager
def _own_memory() -> Iterator[None]:
    """Clears Keras's global state for the models built inside."""
    try:
        yield
    finally:
        keras.utils.clear_session()
