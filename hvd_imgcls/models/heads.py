"""Adapts the last layer of an existing model: removes its softmax, or replaces it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_imgcls.errors import CheckpointError

PROBABILITY_TOLERANCE = 1e-3
"""Tolerance of a sum of probabilities: float16 has steps of 5e-4 below 1."""


def with_logits(
    model: keras.Model,
    num_classes: int,
    replace: str,
    *,
    image_shape: tuple[int, int, int],
    origin: str,
) -> tuple[keras.Model, list[str]]:
    """Returns a model that ends in float32 logits for `num_classes` classes.

    The layers before the last dense one are those of the given model, not copies.

    Args:
        model: Functional or sequential, with one input and one output.
        num_classes: Number of classes.
        replace: Whether to replace the last dense layer: "auto" (if it has another number of
            units), "always" or "never".
        image_shape: Height, width and channels of its images.
        origin: Where the model comes from, for messages.

    Returns:
        The model, and the changes made, as phrases for the log.

    Raises:
        CheckpointError: If this is not possible.
    """
    changes: list[str] = []
    changed = _changed(model, num_classes, replace, origin, changes)
    if not isinstance(_last_of(changed), keras.layers.Dense):
        _require_no_probabilities(changed, image_shape, origin)
    return changed, changes


def _changed(
    model: keras.Model, num_classes: int, replace: str, origin: str, changes: list[str]
) -> keras.Model:
    """Returns the model with an adapted output; appends descriptions to `changes`."""
    tensor = _without_softmax(model.outputs[0], changes)
    layer = tensor._keras_history.operation
    if _is_model(layer):
        inner = _changed(layer, num_classes, replace, origin, changes)
        return keras.Model(model.inputs[0], inner(_input_of(tensor)), name=model.name)
    is_wrong = tuple(tensor.shape) != (None, num_classes)
    if is_wrong and replace == "never":
        raise CheckpointError(
            f"{origin}: outputs {tuple(tensor.shape)}, but there are {num_classes} classes; set "
            "model.replace_head to auto"
        )
    is_new = is_wrong or replace == "always"
    if isinstance(layer, keras.layers.Dense):
        logits = _new_dense(tensor, layer, num_classes, is_new, changes)
    else:
        logits = keras.layers.Activation("linear", dtype="float32", name="class_logits")(tensor)
    problem = _problem_with(layer, is_new)
    if problem:
        raise CheckpointError(f"{origin}: {problem}")
    return keras.Model(model.inputs[0], logits, name=model.name)


def _problem_with(layer: Any, is_new: bool) -> str:
    """Returns why a last layer cannot return logits; empty if it can."""
    if isinstance(layer, keras.layers.Dense):
        if is_new or activation_of(layer) in ("linear", "softmax"):
            return ""
        return (
            f"ends in {activation_of(layer)}, which gives no logits; set model.replace_head to "
            "always"
        )
    if is_new:
        return (
            f"its last layer is {type(layer).__name__} {layer.name!r}, and only Dense layers can "
            "be replaced; use a model that ends in a Dense layer"
        )
    return ""


def _new_dense(tensor: Any, layer: Any, num_classes: int, is_new: bool, changes: list[str]) -> Any:
    """Returns the logits of a dense layer that replaces an existing one."""
    use_bias = is_new or layer.use_bias
    dense = keras.layers.Dense(num_classes, use_bias=use_bias, dtype="float32", name="class_logits")
    logits = dense(_input_of(tensor))
    if is_new:
        changes.append(
            f"its last layer {layer.name!r} with {layer.units} units is replaced by a new one with "
            f"{num_classes}"
        )
        return logits
    dense.set_weights(layer.get_weights())
    if activation_of(layer) == "softmax":
        changes.append(f"the softmax of its last layer {layer.name!r} is removed")
    return logits


def _without_softmax(tensor: Any, changes: list[str]) -> Any:
    """Returns the tensor before softmax and linear activations at the end."""
    while True:
        layer = tensor._keras_history.operation
        is_identity = isinstance(layer, keras.layers.Identity) or (
            isinstance(layer, keras.layers.Activation) and activation_of(layer) == "linear"
        )
        if not is_identity and not _is_softmax(layer):
            return tensor
        if not is_identity:
            changes.append(f"the softmax {layer.name!r} at its end is removed")
        tensor = _input_of(tensor)


def _is_softmax(layer: Any) -> bool:
    """Returns whether a layer or an operation is just a softmax."""
    if isinstance(layer, keras.layers.Softmax):
        return True
    if isinstance(layer, keras.layers.Activation):
        return activation_of(layer) == "softmax"
    # `keras.ops.softmax` and `keras.activations.softmax` of a symbolic tensor.
    return not isinstance(layer, keras.layers.Layer) and type(layer).__name__ == "Softmax"


def activation_of(layer: Any) -> str:
    """Returns the name of the activation at the end of a layer, "linear" if it has none."""
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", activation))


def activation_name(model: keras.Model) -> str:
    """Returns the name of the activation that a model ends in, "linear" if unknown."""
    if not getattr(model, "outputs", None):
        return "linear"
    layer = _last_of(model)
    return "softmax" if _is_softmax(layer) else activation_of(layer)


def _last_of(model: keras.Model) -> Any:
    """Returns the last layer or operation of a model, descending into nested models."""
    layer = model.outputs[0]._keras_history.operation
    return _last_of(layer) if _is_model(layer) else layer


def _is_model(layer: Any) -> bool:
    return isinstance(layer, keras.Model) and bool(getattr(layer, "outputs", None))


def _input_of(tensor: Any) -> Any:
    """Returns the input of the layer that produced a tensor."""
    history = tensor._keras_history
    (taken,) = history.operation._inbound_nodes[history.node_index].input_tensors
    return taken


def are_probabilities(outputs: np.ndarray) -> bool:
    """Returns whether all rows `[batch, num_classes]` are non-negative and sum to 1."""
    sums = outputs.sum(axis=-1)
    return bool((outputs >= 0).all() and (abs(sums - 1) < PROBABILITY_TOLERANCE).all())


def _require_no_probabilities(
    model: keras.Model, image_shape: tuple[int, int, int], origin: str
) -> None:
    """Rejects a model with a softmax that cannot be found."""
    images = np.random.default_rng(0).integers(0, 256, (2, *image_shape), dtype=np.uint8)
    if are_probabilities(np.asarray(model(images, training=False))):
        raise CheckpointError(
            f"{origin}: its outputs are probabilities, but the softmax in it cannot be removed; "
            "use a model that ends in logits, or in a Dense layer"
        )
