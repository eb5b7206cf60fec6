"""The files that a model is built from, determined without reading them."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.config.models import KerasApplication, KerasFile, Model
from hvd_imgcls.errors import CheckpointError


def files_of(config: Model) -> dict[str, Path]:
    """Returns the files that a model is built from, by the configuration keys that name them."""
    if isinstance(config, KerasFile):
        return {"model.path": Path(config.path).expanduser()}
    if isinstance(config, KerasApplication) and config.weights is not None:
        return {"model.weights": Path(config.weights).expanduser()}
    return {}


def require_files(config: Model) -> None:
    """Raises an error if a file of the model is missing, before anything else starts.

    Raises:
        CheckpointError: Naming the file and the key.
    """
    for key, path in files_of(config).items():
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; {key} must name a file")
