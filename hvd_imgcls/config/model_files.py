"""The files that a model is built from, determined without reading them."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.config.models import KerasApplication, KerasFile, Model
from hvd_imgcls.config.models.imagenet_files import (
    IMAGENET,
    imagenet_file_name,
    keras_models_folder,
)
from hvd_imgcls.errors import CheckpointError


def files_of(config: Model) -> dict[str, Path]:
    """Returns the files that a model is built from, by the configuration keys that name them.

    Weights that Keras downloads are not among them.
    """
    if isinstance(config, KerasFile):
        return {"model.path": Path(config.path).expanduser()}
    if isinstance(config, KerasApplication) and config.weights not in (None, IMAGENET):
        return {"model.weights": Path(config.weights).expanduser()}
    return {}


def require_files(config: Model) -> None:
    """Raises an error if a file of the model is missing, before anything else starts.

    Raises:
        CheckpointError: Naming the file and the key.
    """
    for key, path in files_of(config).items():
        if not path.is_file():
            raise CheckpointError(
                f"{path}: no such file; {key} must name a file{_or_imagenet(config)}"
            )


def missing_files(config: Model) -> tuple[str, ...]:
    """Returns the files of the model that are not on this machine, as phrases."""
    return tuple(
        f"{key}: {path}, which is not on this machine"
        for key, path in files_of(config).items()
        if not path.is_file()
    )


def _or_imagenet(config: Model) -> str:
    return f", or be {IMAGENET}" if isinstance(config, KerasApplication) else ""


def imagenet_file_of(
    config: Model, image_shape: tuple[int, int, int], num_classes: int
) -> Path | None:
    """Returns where Keras keeps the ImageNet weights of a model; None if it uses none.

    Args:
        config: The `model` section.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
    """
    if not isinstance(config, KerasApplication) or config.weights != IMAGENET:
        return None
    name = imagenet_file_name(config.application, image_shape[:2], num_classes)
    return keras_models_folder() / name


def weights_notes(
    config: Model, image_shape: tuple[int, int, int], num_classes: int
) -> tuple[str, ...]:
    """Returns what a plan says about weights that may have to be downloaded, as sentences.

    Args:
        config: The `model` section.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
    """
    path = imagenet_file_of(config, image_shape, num_classes)
    if path is None:
        return ()
    if path.exists():
        return (f"ImageNet weights: {path}",)
    return (f"ImageNet weights: {path} does not exist, so the run downloads it first",)
