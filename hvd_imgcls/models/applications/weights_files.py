"""Loads weights from a file into a model of `keras.applications`: all of them, or an error.

Keras loads the weights; this module verifies the result. Every weight is set to NaN before, so
that weights missing from the file are detected afterwards.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from hvd_imgcls.errors import CheckpointError, first_line
from hvd_imgcls.files.model_archives import require_sound_model

# The format written by Keras 2, which is that of the published files.
_OLD_SUFFIXES = (".h5", ".hdf5")
# The published weights of EfficientNetB0 to B7 contain ImageNet's standard deviations where
# Keras's layer expects variances. Keras corrects that with an additional layer, but only for
# weights that it downloads (keras/src/applications/efficientnet.py, "if weights == 'imagenet'").
_DEVIATIONS_FOR_VARIANCES = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Result of loading a file.

    Attributes:
        has_head: Whether the last layer's weights come from the file.
        new_below_head: Names of weights of other layers that are not in the file, all in the top.
        text: The result as text.
    """

    has_head: bool
    new_below_head: tuple[str, ...]
    text: str


def load_application_weights(model: keras.Model, head: Any, name: str, filename: str) -> Loaded:
    """Loads a weights file into a model that was built with its top.

    The file may hold the whole model, for any number of classes, or lack the top, that is, the
    layers after the last pooling. Missing weights of the top keep their initial values.

    Args:
        model: The model as built by `keras.applications`.
        head: Its last layer with weights, the only one that depends on the number of classes.
        name: Its name, for messages.
        filename: `.weights.h5`, `.keras`, or the `.h5` of Keras 2. `~` is the home directory.

    Raises:
        CheckpointError: If the file cannot be read, lacks a weight below the top, or contains
            weights that the model does not have.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; model.weights must name a weights file")
    variables = [v for v in model.weights if keras.backend.is_float_dtype(v.dtype)]
    initial = [np.asarray(v) for v in variables]
    for variable in variables:
        variable.assign(np.full(variable.shape, math.nan, dtype="float32"))
    num_in_file = _load(model, name, path)
    missing = [v for v in variables if not np.isfinite(np.asarray(v)).all()]
    top = {id(v) for layer in _top_of(model) for v in layer.weights}
    _require_trunk(missing, top, len(variables), name, path)
    num_loaded = len(variables) - len(missing)
    _require_nothing_left_over(num_in_file, num_loaded, len(missing), name, path)
    missing_ids = {id(v) for v in missing}
    for variable, value in zip(variables, initial, strict=True):
        if id(variable) in missing_ids:
            variable.assign(value)
    correct_efficientnet(model)
    head_ids = {id(v) for v in head.weights}
    return Loaded(
        has_head=not head_ids & missing_ids,
        new_below_head=tuple(v.path for v in missing if id(v) not in head_ids),
        text=_describe(path, len(variables), [v.path for v in missing]),
    )


def _describe(path: Path, num_weights: int, missing: list[str]) -> str:
    text = f"{path}: {num_weights - len(missing)} of {num_weights} weights loaded"
    return f"{text}; new: {', '.join(missing)}" if missing else text


def _load(model: keras.Model, name: str, path: Path) -> int:
    """Loads matching weights and returns how many weights the file contains."""
    try:
        require_sound_model(path)
        with warnings.catch_warnings():
            # Keras warns about every layer that does not fit; we report them in one line.
            warnings.simplefilter("ignore")
            if path.suffix in _OLD_SUFFIXES and not path.name.endswith(".weights.h5"):
                return _load_old(model, name, path)
            model.load_weights(path, skip_mismatch=True)
        return _count_weights(path)
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        reason = first_line(error)
        raise CheckpointError(
            f"{path}: not a weights file for {name} ({reason}); use a .weights.h5, .keras or "
            ".h5 file of this model"
        ) from error


def _load_old(model: keras.Model, name: str, path: Path) -> int:
    """Loads a file of Keras 2, which identifies layers only by their order."""
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if not _attribute(group, "layer_names"):
            raise CheckpointError(
                f"{path}: not a weights file written by Keras; use a .weights.h5, .keras or "
                ".h5 file of this model"
            )
        counts = [
            count for name in _attribute(group, "layer_names") if (count := _count_of(group[name]))
        ]
    layers = [layer for layer in model.layers if layer.weights]
    if len(counts) == len(layers):
        model.load_weights(path, skip_mismatch=True)
    else:
        _load_old_without_top(model, layers, len(counts), name, path)
    return sum(counts)


def _count_of(group: Any) -> int:
    """Returns how many weights a layer has in a file of Keras 2, without counters."""
    names = [str(np.char.decode(np.asarray(n, "S"))) for n in _attribute(group, "weight_names")]
    return sum(group[n].dtype.kind == "f" and not n.endswith(("count:0", "count")) for n in names)


def _attribute(group: Any, name: str) -> list[Any]:
    """Returns a list of names, which Keras splits into chunks if it is long."""
    if name in group.attrs:
        return list(group.attrs[name])
    pieces = itertools.takewhile(
        lambda key: key in group.attrs, map(f"{name}{{}}".format, itertools.count())
    )
    return [item for piece in pieces for item in group.attrs[piece]]


def _load_old_without_top(
    model: keras.Model, layers: list[Any], num_in_file: int, name: str, path: Path
) -> None:
    """Loads a file that contains only the first layers."""
    bare = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=model.input_shape[1:]
    )
    bare_layers = [layer for layer in bare.layers if layer.weights]
    if len(bare_layers) != num_in_file:
        raise CheckpointError(
            f"{path}: {num_in_file} layers with weights, but {name} has {len(layers)}, "
            f"{len(bare_layers)} without its top; use a file of this model"
        )
    bare.load_weights(path)
    for layer, loaded in zip(layers, bare_layers, strict=False):
        layer.set_weights(loaded.get_weights())
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _count_weights(path: Path) -> int:
    """Returns the number of floating-point arrays of layers in a file of Keras 3."""
    content: Any = path
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
    count = 0

    def visit(name: str, item: Any) -> None:
        nonlocal count
        is_of_layer = name.startswith(("layers/", "_layer_checkpoint_dependencies"))
        count += isinstance(item, h5py.Dataset) and is_of_layer and item.dtype.kind == "f"

    with h5py.File(content, "r") as file:
        file.visititems(visit)
    return count


def _top_of(model: keras.Model) -> list[Any]:
    """Returns the layers after the last pooling, in reverse order."""
    pooling = (keras.layers.GlobalAveragePooling2D, keras.layers.MaxPooling2D)
    found: list[Any] = []
    layer = model.outputs[0]._keras_history.operation
    while not isinstance(layer, pooling):
        found.append(layer)
        (node,) = layer._inbound_nodes
        (tensor,) = node.input_tensors
        layer = tensor._keras_history.operation
    return found


def _require_trunk(
    missing: list[Any], top: set[int], num_weights: int, name: str, path: Path
) -> None:
    """Rejects a file that lacks a weight below the top."""
    lacking = [variable for variable in missing if id(variable) not in top]
    if lacking:
        raise CheckpointError(
            f"{path}: not the weights of {name}: {len(lacking)} of its {num_weights} are missing "
            f"or have another shape, the first {lacking[0].path} {tuple(lacking[0].shape)}; "
            "use a file of this model"
        )


def _require_nothing_left_over(
    num_in_file: int, num_loaded: int, num_missing: int, name: str, path: Path
) -> None:
    """Rejects the file of a larger model whose first layers happen to fit."""
    # Missing weights may exist with another shape: the top for other classes or images.
    if not 0 <= num_in_file - num_loaded <= num_missing:
        raise CheckpointError(
            f"{path}: {num_in_file} weights, of which only {num_loaded} fit {name}; use a "
            "file of this model"
        )


def correct_efficientnet(model: keras.Model) -> None:
    """Corrects the published weights of EfficientNetB0 to B7, so that they work as in training.

    Their first layer subtracts the mean of ImageNet and divides by its standard deviation.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_variance is None:
            variance = np.asarray(layer.adapt_variance)
            if np.allclose(variance, _DEVIATIONS_FOR_VARIANCES, atol=1e-4):
                layer.adapt_variance.assign(variance**2)
                layer.finalize_state()
