"""Image classifiers of KerasHub, from a preset: a directory with their configuration and weights.

KerasHub is an optional dependency, imported only when it is used.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_imgcls.config.models import KerasHub
from hvd_imgcls.errors import CheckpointError, ConfigError, first_line
from hvd_imgcls.files.json_files import read_json
from hvd_imgcls.files.outside import MAX_NAMES_BYTES
from hvd_imgcls.models.files import in_precision
from hvd_imgcls.models.given_model import fits
from hvd_imgcls.models.heads import with_logits
from hvd_imgcls.models.keras_hub_presets import import_keras_hub, preset_folder
from hvd_imgcls.models.normalization import MAX_PIXEL

logger = logging.getLogger(__name__)

# The only packages whose classes a preset may name. Keras imports the modules that it names.
_PACKAGES = ("keras", "keras_hub")


def build_keras_hub(
    config: KerasHub,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalize: keras.layers.Layer,
) -> keras.Model:
    """Builds an image classifier of KerasHub with a last layer for our classes.

    Its own normalisation of pixels, which KerasHub keeps outside of the network, becomes its
    first layer. Images are not resized: they have `data.image_size`.

    Args:
        config: The preset.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalize: Not used: each preset has its own.

    Returns:
        A model from images `[batch, height, width, channels]` with pixels 0 .. 255 to
        logits `[batch, num_classes]`, float32 in every precision.

    Raises:
        CheckpointError: If the preset cannot be loaded, names code that is not of Keras or
            KerasHub, or is not an image classifier.
        ConfigError: If it is for other images.
        SetupError: If KerasHub is not installed.
    """
    origin = f"model.preset: {config.preset}"
    with _in_float32():
        classifier = _load(preset_folder(config.preset), num_classes)
        scale, offset = _scaling_of(classifier, origin)
    if not fits(classifier.input_shape, (None, *image_shape)):
        _, *expected = classifier.input_shape
        raise ConfigError(
            "data.image_size",
            got=f"images of {image_shape}",
            expected=f"{tuple(expected)}, the images of the preset {config.preset}",
            fix="change data.image_size or data.num_channels, or use another preset",
        )
    # A plain model of its layers, which loads as such: KerasHub's class compiles itself.
    plain = keras.Model(classifier.inputs, classifier.outputs, name=classifier.name)
    network, changes = with_logits(
        in_precision(plain, keras.config.dtype_policy().name),
        num_classes,
        "auto",
        image_shape=image_shape,
        origin=origin,
    )
    for text in changes:
        logger.info("%s: %s", origin, text)
    images = keras.Input(shape=image_shape, name="images")
    pixels = keras.layers.Rescaling(scale, offset, name="pixels")(images)
    return keras.Model(images, network(pixels), name=network.name)


def _load(folder: Path, num_classes: int) -> Any:
    """Returns the classifier in a directory."""
    hub = import_keras_hub()
    _require_no_code(folder)
    # KerasHub loads the weights of the last layer only if it chooses the number of classes.
    keys = {} if (folder / "task.json").is_file() else {"num_classes": num_classes}
    try:
        return hub.models.ImageClassifier.from_preset(str(folder), **keys)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise CheckpointError(
            f"{folder}: not a preset of an image classifier ({first_line(error)}); use a directory "
            "that save_to_preset of a KerasHub image classifier has written"
        ) from error


def _require_no_code(folder: Path) -> None:
    """Rejects a preset that names functions or classes of other packages, or contains code."""
    for path in sorted(folder.glob("*.json")):
        try:
            tree = read_json(path, MAX_NAMES_BYTES)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: not JSON ({first_line(error)})") from error
        for module, name in _classes_in(tree):
            if name in ("Lambda", "__lambda__") or module.split(".")[0] not in _PACKAGES:
                raise CheckpointError(
                    f"{path}: names {module}.{name}, which is not a class of Keras or KerasHub "
                    "and would be run; use a preset without it, or build the model in Python and "
                    "pass it to train(config, model=...) if you trust it"
                )


def _classes_in(tree: Any) -> list[tuple[str, str]]:
    """Returns module and name of every class or function in a serialised object."""
    if isinstance(tree, list):
        return [found for item in tree for found in _classes_in(item)]
    if not isinstance(tree, dict):
        return []
    found = [one for item in tree.values() for one in _classes_in(item)]
    if "class_name" in tree:
        found.append((str(tree.get("module") or "keras"), str(tree["class_name"])))
    return found


@contextlib.contextmanager
def _in_float32() -> Iterator[None]:
    """Sets the dtype policy to float32 inside."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _scaling_of(classifier: Any, origin: str) -> tuple[Any, Any]:
    """Returns factor and summand with which the preset's converter normalises pixels."""
    converter = getattr(classifier.preprocessor, "image_converter", None)
    if converter is None:
        raise CheckpointError(
            f"{origin}: has no image converter, so it is unknown how its pixels are normalised; "
            "save it again with its preprocessor"
        )
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    # Of the size of the converter, so that it does not resize.
    height, width = converter.image_size or (8, 8)
    images = np.random.default_rng(0).integers(0, MAX_PIXEL + 1, (1, height, width, 3))
    images = images.astype("float32")
    expected = np.asarray(classifier.preprocessor(images))
    if not np.allclose(images * scale + offset, expected, rtol=1e-3, atol=1e-3):
        raise CheckpointError(
            f"{origin}: its preprocessor does more than scaling pixels; use another preset"
        )
    return scale, offset
