"""Checks that a model passed by the user fits our images and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from hvd_imgcls.errors import ConfigError, first_line
from hvd_imgcls.models.heads import activation_name, are_probabilities

_KEY = "model"


def fits(shape: Sequence[int | None], needed: Sequence[int | None]) -> bool:
    """Returns whether a shape, whose unknown sizes are None, is compatible with a required one.

    >>> fits((None, None, None, 3), (None, 32, 32, 3)), fits((None, 8, 8, 1), (None, 32, 32, 3))
    (True, False)
    """
    return len(shape) == len(needed) and all(
        size is None or size == wanted for size, wanted in zip(shape, needed, strict=True)
    )


def policies_of(model: keras.Model) -> set[str]:
    """Returns the names of the dtype policies of the layers that compute."""
    return {
        layer.dtype_policy.name
        for layer in model._flatten_layers(include_self=False)
        if not isinstance(layer, keras.Model | keras.layers.InputLayer)
    }


def accept_given_model(
    model: Any, image_shape: tuple[int, int, int], num_classes: int, precision: str
) -> keras.Model:
    """Checks a user's model and returns it.

    It is called once, on two random images, which builds it if necessary.

    Args:
        model: The user's model.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        precision: The `train.precision` of the run.

    Raises:
        ConfigError: If it is not a model from such images to float32 logits of these classes.
    """
    if not isinstance(model, keras.Model):
        raise ConfigError(
            _KEY, got=type(model).__name__, expected="a keras.Model", fix="pass a Keras model"
        )
    if getattr(model, "inputs", None) and not fits(model.input_shape, (None, *image_shape)):
        raise _not_for_images(f"one for inputs {model.input_shape}", image_shape)
    images = np.random.default_rng(0).integers(0, 256, (2, *image_shape), dtype=np.uint8)
    try:
        logits = model(images, training=False)
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = first_line(error)
        raise _not_for_images(f"one that fails on uint8 images ({reason})", image_shape) from error
    _require_precision(model, precision)
    _require_logits(model, logits, num_classes)
    return model


def _not_for_images(got: str, image_shape: tuple[int, int, int]) -> ConfigError:
    return ConfigError(
        _KEY,
        got=got,
        expected=f"a model for images {(None, *image_shape)}, pixels 0 to 255",
        fix="change the model, or data.image_size and data.num_channels",
    )


def _require_precision(model: keras.Model, precision: str) -> None:
    """Rejects a model that was built in another precision, which it would silently keep."""
    policies = sorted(policies_of(model))
    if policies and precision not in policies:
        raise ConfigError(
            "train.precision",
            got=precision,
            expected=f"the policy that the given model was built in ({', '.join(policies)})",
            fix=f"change it, or call keras.config.set_dtype_policy({precision!r}) before building",
        )


def _require_logits(model: keras.Model, logits: Any, num_classes: int) -> None:
    """Rejects anything other than float32 logits for the right number of classes."""
    shape = getattr(logits, "shape", None)
    if shape is None or tuple(shape) != (2, num_classes):
        given = f"outputs {(None, *shape[1:])}" if shape is not None else "several outputs"
        raise ConfigError(
            _KEY,
            got=f"one with {given}",
            expected=f"logits {(None, num_classes)}, one for each of the {num_classes} classes",
            fix="change its last layer",
        )
    if keras.backend.standardize_dtype(logits.dtype) != "float32":
        raise ConfigError(
            _KEY,
            got=f"one with {keras.backend.standardize_dtype(logits.dtype)} outputs",
            expected="float32 logits",
            fix='set dtype="float32" in its last layer',
        )
    activation = activation_name(model)
    if activation != "linear" or are_probabilities(np.asarray(logits)):
        raise ConfigError(
            _KEY,
            got=f"one that ends in {activation if activation != 'linear' else 'probabilities'}",
            expected="logits: the loss applies the softmax itself",
            fix="remove the activation of its last layer",
        )
