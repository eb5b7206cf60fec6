"""Loads whole models from `.keras` files of any origin, without executing code in them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls.config.model_files import files_of, require_files
from hvd_imgcls.config.models import KerasFile, Model
from hvd_imgcls.errors import CheckpointError, first_line
from hvd_imgcls.files.digest import digest
from hvd_imgcls.files.model_archives import require_sound_model
from hvd_imgcls.models.given_model import fits, policies_of
from hvd_imgcls.models.heads import with_logits

logger = logging.getLogger(__name__)

_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


# The fix for users of commands that have no option to trust a file.
_REMEDY_IN_TRAINING = "load it in Python and pass it to train(config, model=...) if you trust it"


def read_model(
    path: Path,
    *,
    is_trusted: bool = False,
    remedy: str = "if you trust its author, add --trust-model",
) -> keras.Model:
    """Loads the model in a file, without its optimizer and without executing code.

    Args:
        path: The file.
        is_trusted: Whether code in it, such as that of a Lambda layer, may run.
        remedy: The fix shown if the file contains code.

    Raises:
        CheckpointError: If the file is not a model, or contains code and is not trusted.
    """
    try:
        require_sound_model(path)
        return keras.saving.load_model(path, compile=False, safe_mode=not is_trusted)
    except Exception as error:  # Keras raises anything for a damaged or crafted file.
        reason = first_line(error)
        if "safe_mode" in str(error) or "unsafe" in str(error):
            raise CheckpointError(f"{path}: contains code that would be run; {remedy}") from error
        raise CheckpointError(
            f"{path}: not a model that can be loaded ({reason}); use a .keras file"
        ) from error


def build_keras_file(
    config: KerasFile,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds a classifier of our images from the model in a file.

    Its layers compute in the current dtype policy, unless some of them already do.

    Args:
        config: The file, and how its last layer is handled.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: From pixels 0 .. 255 to the model's input, if the section says that the model
            does not take raw pixels.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        CheckpointError: If the file is not such a model.
    """
    require_files(config)
    path = files_of(config)["model.path"]
    if path.suffix != ".keras":
        raise CheckpointError(f"{path}: not a .keras file; model.path must name one")
    model = read_model(path, remedy=_REMEDY_IN_TRAINING)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise CheckpointError(f"{path}: not a functional or sequential model")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise CheckpointError(
            f"{path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; use a model "
            "from one batch of images to one batch of logits"
        )
    if not fits(model.input_shape, (None, *image_shape)):
        raise CheckpointError(
            f"{path}: a model for inputs {model.input_shape}, but the images are "
            f"{(None, *image_shape)}; change data.image_size or data.num_channels, or use "
            "another file"
        )
    model = in_precision(model, keras.config.dtype_policy().name)
    model, changes = with_logits(
        model, num_classes, config.replace_head, image_shape=image_shape, origin=str(path)
    )
    for text in changes:
        logger.info("%s: %s", path, text)
    return _with_images(model, image_shape, config, normalize)


def _with_images(
    model: keras.Model,
    image_shape: tuple[int, int, int],
    config: KerasFile,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Returns a model that takes our images, with normalisation prepended if required."""
    if not config.normalization_in_model:
        images = keras.Input(shape=image_shape, name="images")
        return keras.Model(images, model(normalize(images)), name=f"normalized_{model.name}")
    scaling = keras.layers.Rescaling | keras.layers.Normalization
    if not any(isinstance(layer, scaling) for layer in model._flatten_layers()):
        logger.warning(
            "%s: none of its layers normalises pixels, and it gets raw pixels (0 to 255); if it "
            "was trained on normalised ones, set model.normalization_in_model to false",
            config.path,
        )
    return model


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Returns the model with layers that compute in a dtype policy, and the same weights."""
    names = policies_of(model)
    if policy in names or not names.intersection(_POLICIES):
        return model
    config = _with_policy(keras.saving.serialize_keras_object(model), policy)
    changed = keras.saving.deserialize_keras_object(config, safe_mode=True)
    changed.set_weights(model.get_weights())
    return changed


def _with_policy(config: Any, policy: str) -> Any:
    """Returns the configuration of a model with another dtype policy in all its layers."""
    if isinstance(config, list | tuple):
        return [_with_policy(item, policy) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config["config"]["name"] in _POLICIES:
        return {**config, "config": {**config["config"], "name": policy}}
    return {key: _with_policy(value, policy) for key, value in config.items()}


def digests_of_files(config: Model) -> dict[str, str]:
    """Returns hashes of the files that a model is built from, for comparison across ranks.

    A file that cannot be read has the hash "(cannot be read)".
    """
    return {str(path): digest_or_reason(path) for path in files_of(config).values()}


def digest_or_reason(path: Path) -> str:
    """Returns the hash of a file, or "(cannot be read)"."""
    try:
        return digest(path)
    except OSError:
        return "(cannot be read)"
