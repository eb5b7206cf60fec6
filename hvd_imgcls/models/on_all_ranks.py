"""The same model on all ranks, and the same files that it is made from."""

from __future__ import annotations

from pathlib import Path

import keras

from hvd_imgcls import run_dir
from hvd_imgcls.config.models import KerasApplication, KerasFile, Model
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.distributed.agreement import require_same
from hvd_imgcls.errors import CheckpointError

_UNREADABLE = "(cannot be read)"


def digests_of_files(config: Model) -> dict[str, str]:
    """Returns hashes of the files that a model is made from, for comparing ranks.

    A file that cannot be read has the hash "(cannot be read)".
    """
    return {key: _digest(Path(name).expanduser()) for key, name in _files_of(config).items()}


def require_files(config: Model) -> None:
    """Refuses a model whose files cannot be read, before a run begins.

    Raises:
        CheckpointError: Naming the file.
    """
    digests = digests_of_files(config)
    for key, name in _files_of(config).items():
        if digests[key] == _UNREADABLE:
            raise CheckpointError(f"{name}: no such file, or unreadable; {key} must name a file")


def require_same_variables(model: keras.Model, collectives: Collectives) -> None:
    """Compares the shapes of a model's variables over the ranks.

    Collective: every rank must call this.

    Raises:
        RankMismatchError: On all ranks, naming the first variables that differ.
    """
    variables = [f"{list(v.shape)} {v.dtype} {v.name}" for v in model.variables]
    require_same(
        collectives,
        {"model": {"number of variables": len(variables), "variable": variables}},
        "give every rank the same model",
    )


def _files_of(config: Model) -> dict[str, str]:
    """Returns the files that a model is made from, by the keys that name them."""
    if isinstance(config, KerasFile):
        return {"model.path": config.path}
    if isinstance(config, KerasApplication) and config.weights is not None:
        return {"model.weights": config.weights}
    return {}


def _digest(path: Path) -> str:
    try:
        return run_dir.digest(path)
    except OSError:
        return _UNREADABLE
