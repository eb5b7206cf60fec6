"""Loading a saved model so that training goes on over the ranks."""

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
    """Loads a `.keras` file; its optimizer is wrapped and goes on exactly.

    Not collective: each rank reads the file, so it has to be where all ranks see it.
    Weights and optimizer state of the root
    are given to all by `BroadcastGlobalVariablesCallback`.

    Args:
        filepath: The file. Keras 3.15 cannot go on training from an `.h5` file of a model
            whose first layer has an `input_shape`.
        custom_optimizers: Optimizer classes that the file uses beside Keras's own.
        custom_objects: Other classes and functions that it uses, by name. In the place
            of an optimizer class, a function that takes the saved arguments and returns
            an optimizer, wrapped or not, does as well.
        compression: As for `DistributedOptimizer`.
        legacy_opts: Keras 3 has no legacy optimizers; must be False.
        **keywords: More arguments of `DistributedOptimizer`.

    Raises:
        CheckpointError: If the file is missing or cannot be read, or legacy optimizers
            are asked for.
    """
    if legacy_opts:
        raise CheckpointError(
            "load_model(legacy_opts=True): Keras 3 has no legacy optimizers; leave it out"
        )
    if not Path(filepath).is_file():
        raise CheckpointError(f"{filepath}: no such file; give the path of a .keras file")
    names = {cls.__name__: cls for cls in custom_optimizers or ()}
    names.update(custom_objects or {})
    try:
        optimizer_name = _optimizer_name(Path(filepath))
        if inspect.isfunction(names.get(optimizer_name)):
            names[optimizer_name] = _class_made_by(names[optimizer_name])
        model = keras.models.load_model(filepath, custom_objects=names)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise CheckpointError(f"{filepath}: cannot be loaded: {error}") from error
    synchronize_batch_normalization(model, only_marked=True)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and synchronizer_of(optimizer) is None:
        model.optimizer = DistributedOptimizer(optimizer, compression=compression, **keywords)
    return model


def portable(model: keras.Model) -> keras.Model:
    """Returns a model whose file plain Keras loads, without this package.

    That is the model itself, with its optimizer, as long as loss, optimizer and schedule are of
    Keras. Otherwise it is a model of the same layers that is not compiled: a loader that does
    not know a loss could not load the model at all. A subclass of `keras.Model` needs its own
    code in any case, and is returned as it is.
    """
    is_of_keras = "hvd_imgcls>" not in json.dumps(model.get_compile_config())
    if is_of_keras or not getattr(model, "inputs", None):
        return model
    return keras.Model(model.inputs, model.outputs, name=model.name)


def write_portable(path: Path, model: keras.Model) -> None:
    """Saves `portable(model)`; the file is complete or not there."""
    with replacing(path, keeps_suffix=True) as partial:
        portable(model).save(partial)


def _optimizer_name(path: Path) -> str:
    """Returns the class name of the optimizer that a `.keras` file names; "" if none."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
    optimizer = compiled.get("optimizer")
    return str(optimizer["class_name"]) if isinstance(optimizer, dict) else ""


def _class_made_by(factory: Callable[..., Any]) -> type:
    """Returns a class that Keras can make an optimizer from, by calling `factory`."""

    def from_config(_: type, config: dict[str, Any]) -> Any:
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):  # a schedule
            config["learning_rate"] = keras.saving.deserialize_keras_object(config["learning_rate"])
        return factory(**config)

    return type(factory.__name__, (), {"from_config": classmethod(from_config)})
