"""Loads a saved model so that distributed training can continue."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.atomic import replacing
from hvd_imgcls.files.model_archives import require_sound_model
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.layers.sync_batch_normalization import synchronize_batch_normalization
from hvd_imgcls.keras.optimizer.distributed_optimizer import DistributedOptimizer
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


def load_model(
    filepath: str | Path,
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
        filepath: The file. Keras 3.15 cannot continue training from an `.h5` file of a model
            whose first layer has an `input_shape`.
        custom_optimizers: Optimizer classes in the file other than Keras's own.
        custom_objects: Other classes and functions in the file, by name. Instead
            of an optimizer class, a function that takes the saved arguments and returns
            an optimizer, wrapped or not, can be given.
        compression: As for `DistributedOptimizer`.
        legacy_opts: Must be False, since Keras 3 has no legacy optimizers.
        **keywords: Other arguments of `DistributedOptimizer`.

    Raises:
        CheckpointError: If the file is missing or cannot be read, or if `legacy_opts`
            is True.
    """
    if legacy_opts:
        raise CheckpointError(
            "load_model(legacy_opts=True): Keras 3 has no legacy optimizers; omit it"
        )
    if not Path(filepath).is_file():
        raise CheckpointError(f"{filepath}: no such file; pass the path of a .keras file")
    names = {cls.__name__: cls for cls in custom_optimizers or ()}
    names.update(custom_objects or {})
    try:
        require_sound_model(Path(filepath))
        optimizer_name = _optimizer_name(Path(filepath))
        if inspect.isfunction(names.get(optimizer_name)):
            names[optimizer_name] = _class_made_by(names[optimizer_name])
        model = keras.models.load_model(filepath, custom_objects=names)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{filepath}: cannot be loaded: {error}") from error
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


def _optimizer_name(path: Path) -> str:
    """Returns the class name of the optimizer in a `.keras` file; "" if there is none."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
    optimizer = compiled.get("optimizer")
    return str(optimizer["class_name"]) if isinstance(optimizer, dict) else ""


def _class_made_by(factory: Callable[..., Any]) -> type:
    """Returns a class from which Keras can create an optimizer, by calling `factory`."""

    def from_config(_: type, config: dict[str, Any]) -> Any:
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):  # a schedule
            config["learning_rate"] = keras.saving.deserialize_keras_object(config["learning_rate"])
        return factory(**config)

    return type(factory.__name__, (), {"from_config": classmethod(from_config)})
