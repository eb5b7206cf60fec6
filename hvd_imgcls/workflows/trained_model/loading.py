"""Loads trained models from files, for evaluation and prediction."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.digest import digest
from hvd_imgcls.models.files import read_model
from hvd_imgcls.models.given_model import fits
from hvd_imgcls.models.heads import with_logits

logger = logging.getLogger(__name__)


def load_trained_model(
    path: Path,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    is_trusted: bool = False,
    is_accelerated: bool = True,
) -> keras.Model:
    """Loads a `.keras` file; the model returns logits even if it ended in a softmax.

    Args:
        path: The file.
        image_shape: Required height, width and channels of its images.
        num_classes: Required number of classes.
        is_trusted: Whether to load code in the file.
        is_accelerated: Whether to replace layers with faster equivalents in this process.

    Raises:
        CheckpointError: If the file is not a model, contains code, or does not fit the data.
    """
    model = read_model(path, is_trusted=is_trusted)
    if not getattr(model, "inputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise CheckpointError(
            f"{path}: not a functional model from one batch of images to one batch of logits"
        )
    expected = (None, *image_shape), (None, num_classes)
    shapes = model.input_shape, model.output_shape
    if not all(fits(shape, wanted) for shape, wanted in zip(shapes, expected, strict=True)):
        raise CheckpointError(
            f"{path}: a model from {shapes[0]} to {shapes[1]}, but the data "
            f"require {expected[0]} to {expected[1]}; {_what_to_change(shapes, expected)}"
        )
    changed, changes = with_logits(
        model, num_classes, "never", image_shape=image_shape, origin=str(path)
    )
    for text in changes:
        logger.info("%s: %s", path, text)
    # If nothing needs to change, the model is used unmodified.
    model = changed if changes else model
    return hvd.accelerate(model) if is_accelerated else model


def _what_to_change(shapes: Any, expected: Any) -> str:
    """Returns the fix for a model whose input or output shape is not the expected one."""
    if fits(shapes[0], expected[0]) and len(shapes[1] or ()) == 2:
        return (
            f"add --classes FILE with the names of its {shapes[1][1]} classes, one per line, in "
            "the order of its outputs"
        )
    return "use the pipeline it was trained with"


def load_model_of_any_images(
    path: Path, num_classes: int, *, is_trusted: bool = False, is_accelerated: bool = True
) -> tuple[keras.Model, tuple[int, int, int]]:
    """Loads a model, and returns it with the images it expects: height, width and channels.

    Raises:
        CheckpointError: If the file is not a model of fixed-size images, contains code, or has
            other classes.
    """
    model = read_model(path, is_trusted=is_trusted)
    shape = tuple(getattr(model, "input_shape", None) or ())
    is_square = len(shape) == 4 and None not in shape[1:] and shape[1] == shape[2]
    if not is_square or shape[3] not in (1, 3):
        raise CheckpointError(
            f"{path}: a model for inputs {shape}, expected one for square images "
            "(None, size, size, 1 or 3)"
        )
    image_shape = int(shape[1]), int(shape[2]), int(shape[3])
    loaded = load_trained_model(
        path, image_shape, num_classes, is_trusted=is_trusted, is_accelerated=is_accelerated
    )
    return loaded, image_shape


def load_saved_model(
    path: Path, image_shape: tuple[int, int, int], num_classes: int, *, is_trusted: bool
) -> Any:
    """Returns a function from images to logits of a SavedModel that `hvd-imgcls export` wrote.

    Args:
        path: Its directory.
        image_shape: Required height, width and channels of its images.
        num_classes: Required number of classes.
        is_trusted: Whether to load it. A SavedModel is a program that can read and write files.

    Raises:
        CheckpointError: If it is not trusted, not a SavedModel, or does not fit the data.
    """
    if not is_trusted:
        raise CheckpointError(
            f"{path}: a SavedModel is a program that can read and write files; if you trust "
            "its author, add --trust-model"
        )
    try:
        # Kept alive by the returned function, together with its variables.
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures["images"]
        logits = signature.structured_outputs["logits"]
        images = signature.structured_input_signature[1]["images"]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise CheckpointError(
            f"{path}: not a SavedModel with a signature `images` that returns `logits` ({error}); "
            "use one written by `hvd-imgcls export`"
        ) from error
    expected = [None, *image_shape], [None, num_classes]
    if (images.shape.as_list(), logits.shape.as_list()) != expected:
        raise CheckpointError(
            f"{path}: from images {images.shape} to {logits.shape}, but the data require "
            f"{expected[0]} to {expected[1]}"
        )

    def predict(batch: tf.Tensor) -> tf.Tensor:
        return loaded.signatures["images"](images=tf.cast(batch, tf.uint8))["logits"]

    return predict


def class_names_of_saved_model(path: Path) -> tuple[str, ...]:
    """Returns the class names that `hvd-imgcls export` stored in a SavedModel; empty if none."""
    try:
        signature = tf.saved_model.load(str(path)).signatures["class_names"]
        names = signature()["class_names"].numpy().tolist()
    except (OSError, KeyError, ValueError, tf.errors.OpError):
        # Loading the model itself reports what is wrong.
        return ()
    return tuple(name.decode() for name in names)


def digest_of_model(path: Path) -> str:
    """Returns 16 hexadecimal digits of a hash of a model file, or of all files of a SavedModel."""
    if path.is_file():
        return digest(path)
    hasher = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            hasher.update(f"{file.relative_to(path)}:{digest(file)}\n".encode())
    return hasher.hexdigest()[:16]
