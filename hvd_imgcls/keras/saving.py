"""Loads a saved model so that distributed training can continue."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.atomic import replacing
from hvd_imgcls.files.model_archives import require_sound_model
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.layers.sync_batch_normalization import synchronize_batch_normalization
from hvd_imgcls.keras.optimizer.distributed_optimizer import DistributedOptimizer
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

# Names that Keras 3.15 writes into an `.h5` file and does not find when it loads the file.
_FUNCTIONS_OF_KERAS = {
    "mse": keras.losses.mean_squared_error,
    "mae": keras.losses.mean_absolute_error,
    "mape": keras.losses.mean_absolute_percentage_error,
    "msle": keras.losses.mean_squared_logarithmic_error,
}


def load_model(
    filepath: str | Path | h5py.File,
    custom_optimizers: list[type] | None = None,
    custom_objects: dict[str, Any] | None = None,
    compression: Any = Compression.none,
    legacy_opts: bool = False,
    **keywords: Any,
) -> keras.Model:
    """Loads a `.keras` file with its optimizer wrapped, to continue training exactly.

    Not collective: each rank reads the file, so it must be visible to all ranks.
    `BroadcastGlobalVariablesCallback` then sends the root's weights and optimizer state
    to all ranks.

    Args:
        filepath: A `.keras` or `.h5` file, or an open `h5py.File`. Keras 3.15 builds the
            optimizer of an `.h5` file without the variables of the layers, and drops its state;
            here it is built and its state is loaded.
        custom_optimizers: Optimizer classes in the file other than Keras's own.
        custom_objects: Other classes and functions in the file, by name. Instead
            of an optimizer class, a function that takes the saved arguments and returns
            an optimizer, wrapped or not, can be given.
        compression: As for `DistributedOptimizer`.
        legacy_opts: Must be False, since Keras 3 has no legacy optimizers.
        **keywords: Other arguments of `DistributedOptimizer`.

    Raises:
        CheckpointError: If the file is missing or cannot be read, if the optimizer state in
            an `.h5` file is that of other variables, or if `legacy_opts` is True.
    """
    if legacy_opts:
        raise CheckpointError(
            "load_model(legacy_opts=True): Keras 3 has no legacy optimizers; omit it"
        )
    is_open = isinstance(filepath, h5py.File)
    if not is_open and not Path(filepath).is_file():
        raise CheckpointError(f"{filepath}: no such file; pass the path of a .keras or .h5 file")
    where = getattr(filepath, "filename", filepath)
    names = {cls.__name__: cls for cls in custom_optimizers or ()}
    names.update(custom_objects or {})
    try:
        if not is_open:
            require_sound_model(Path(filepath))
        with contextlib.nullcontext(filepath) if is_open else _opened_if_h5(filepath) as file:
            optimizer_name = _optimizer_name(filepath if file is None else file)
            if inspect.isfunction(names.get(optimizer_name)):
                names[optimizer_name] = _class_made_by(names[optimizer_name])
            if file is None:
                model = keras.models.load_model(filepath, custom_objects=names)
            else:
                model = _load_h5(file, names)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{where}: cannot be loaded: {error}") from error
    synchronize_batch_normalization(model, only_marked=True)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and synchronizer_of(optimizer) is None:
        model.optimizer = DistributedOptimizer(optimizer, compression=compression, **keywords)
    return model


def portable(model: keras.Model) -> keras.Model:
    """Returns a model whose saved file plain Keras can load, without this package.

    This is the model itself, including its optimizer, if loss, optimizer and schedule are
    Keras's own, and the optimizer was built for the variables that are trainable. Otherwise it is
    an uncompiled model with the same layers: with an unknown loss, Keras could not load the
    model at all, and it would drop the state of an optimizer of other variables, with a warning. A
    subclass of `keras.Model` needs its own code in any case, and is returned unchanged.
    """
    is_of_keras = "hvd_imgcls>" not in json.dumps(model.get_compile_config())
    if not getattr(model, "inputs", None) or (is_of_keras and _optimizer_fits(model)):
        return model
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _optimizer_fits(model: keras.Model) -> bool:
    """Whether the optimizer has state for the trainable variables, not for those of before."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not optimizer.built:
        return True
    built_for = {id(variable) for variable in optimizer._trainable_variables}
    return built_for == {id(variable) for variable in model.trainable_variables}


def write_portable(path: Path, model: keras.Model) -> None:
    """Saves `portable(model)`, atomically."""
    with replacing(path, keeps_suffix=True) as partial:
        portable(model).save(partial)


def _opened_if_h5(path: str | Path) -> Any:
    """Returns a context manager of the open file; of None if it is not an `.h5` file."""
    return h5py.File(path, "r") if h5py.is_hdf5(path) else contextlib.nullcontext()


def _optimizer_name(file: str | Path | h5py.File) -> str:
    """Returns the class name of the optimizer in a file; "" if there is none."""
    compiled: Any = {}
    if isinstance(file, h5py.File):
        training = json.loads(file.attrs.get("training_config", "{}"))
        compiled = {"optimizer": training.get("optimizer_config")}
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
    optimizer = compiled.get("optimizer")
    return str(optimizer["class_name"]) if isinstance(optimizer, dict) else ""


def _load_h5(file: h5py.File, names: dict[str, Any]) -> keras.Model:
    """Loads a model from an `.h5` file with the whole state of its optimizer.

    Raises:
        CheckpointError: If that state does not fit the model.
    """
    log = logging.getLogger("absl")
    log.addFilter(_is_not_about_lost_state)
    try:
        model = legacy_h5_format.load_model_from_hdf5(
            file, custom_objects={**_FUNCTIONS_OF_KERAS, **names}
        )
    finally:
        log.removeFilter(_is_not_about_lost_state)
    if "optimizer_weights" not in file or getattr(model, "optimizer", None) is None:
        return model
    # Keras has built it for no variables, and an optimizer is built only once.
    built = model.optimizer
    optimizer = type(built).from_config(built.get_config())
    num_own = len(optimizer.variables)
    optimizer.build(model.trainable_variables)
    values = legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)
    arrays = [np.asarray(value) for value in values]
    # A model that was saved before its first step has only the optimizer's own variables.
    variables = optimizer.variables[:num_own] if len(arrays) == num_own else optimizer.variables
    saved = [list(array.shape) for array in arrays]
    expected = [list(variable.shape) for variable in variables]
    if saved != expected:
        raise CheckpointError(
            f"{file.filename}: got optimizer state of the shapes {saved}, expected {expected} for "
            f"{optimizer.__class__.__name__} and the trainable weights of the model; save the "
            "model as a .keras file"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    model.optimizer = optimizer
    return model


def _is_not_about_lost_state(record: logging.LogRecord) -> bool:
    """Whether a message of Keras is not the warning about the state that is loaded here."""
    return "saved optimizer" not in str(record.msg)


def _class_made_by(factory: Callable[..., Any]) -> type:
    """Returns a class from which Keras can create an optimizer, by calling `factory`."""

    def from_config(_: type, config: dict[str, Any]) -> Any:
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):  # a schedule
            config["learning_rate"] = keras.saving.deserialize_keras_object(config["learning_rate"])
        return factory(**config)

    return type(factory.__name__, (), {"from_config": classmethod(from_config)})
