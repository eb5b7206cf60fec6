"""The files that a model is made from, known without reading them."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.config.models import KerasApplication, KerasFile, Model
from hvd_imgcls.errors import CheckpointError


def files_of(config: Model) -> dict[str, Path]:
    """Returns the files that a model is made from, by the keys that name them."""
    if isinstance(config, KerasFile):
        return {"model.path": Path(config.path).expanduser()}
    if isinstance(config, KerasApplication) and config.weights is not None:
        return {"model.weights": Path(config.weights).expanduser()}
    return {}


def require_files(config: Model) -> None:
    """Refuses a model whose files are not there, before anything begins.

    Raises:
        CheckpointError: Naming the file and the key.
    """
    for key, path in files_of(config).items():
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; {key} must name a file")
