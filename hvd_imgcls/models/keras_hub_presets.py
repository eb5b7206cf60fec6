"""Presets of KerasHub: directories with the configuration and the weights of a model.

KerasHub is an optional dependency, imported only when it is used.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hvd_imgcls.config.models.imagenet_files import keras_models_folder
from hvd_imgcls.errors import CheckpointError, SetupError, first_line
from hvd_imgcls.files.digest import digest
from hvd_imgcls.models.downloading import Download, finish

INSTALL = "pip install 'hvd_imgcls[kerashub]'"


def is_installed() -> bool:
    """Returns whether KerasHub is installed, without importing it."""
    return importlib.util.find_spec("keras_hub") is not None


def import_keras_hub() -> Any:
    """Returns the package `keras_hub`.

    Raises:
        SetupError: If it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise SetupError(
            f"model.name keras_hub: KerasHub cannot be imported ({first_line(error)})", fix=INSTALL
        ) from error
    return keras_hub


def presets() -> dict[str, dict[str, Any]]:
    """Returns KerasHub's presets of image classifiers by name, with its metadata."""
    return dict(import_keras_hub().models.ImageClassifier.presets)


class PresetDownload(Download):
    """Brings a preset into the folder of kagglehub, which checks its files.

    Args:
        preset: Name of a preset.
        handle: Its name at Kaggle.
    """

    def __init__(self, preset: str, handle: str) -> None:
        super().__init__(preset)
        self._handle = handle
        self.folder = Path()

    @property
    def lock_path(self) -> Path:
        """In Keras's folder."""
        return keras_models_folder() / f".{self.name}.lock"

    def is_there(self) -> bool:
        """Returns False: only kagglehub knows, and returns at once if it has the preset."""
        return False

    def download(self) -> None:
        """Downloads all files of the preset."""
        import kagglehub

        self.folder = Path(kagglehub.model_download(self._handle))

    def failure(self, reason: str) -> str:
        """Returns the message."""
        return (
            f"model.preset: {self.name} cannot be downloaded from Kaggle ({reason}); download "
            f"https://www.kaggle.com/models/{self._handle} elsewhere, copy the directory to every "
            "host, and set model.preset to it"
        )


def preset_download(preset: str) -> PresetDownload | None:
    """Returns the download of a preset that is not a directory; None if it is one.

    Raises:
        CheckpointError: If there is no such directory or preset.
        SetupError: If KerasHub is not installed.
    """
    hub = import_keras_hub()
    if Path(preset).expanduser().is_dir():
        return None
    known = presets()
    if preset not in known:
        raise CheckpointError(
            f"model.preset: {preset} is neither a directory nor an image classifier of KerasHub "
            f"{hub.__version__}; `hvd-imgcls models` lists the presets"
        )
    return PresetDownload(preset, known[preset]["kaggle_handle"].removeprefix("kaggle://"))


def preset_folder(preset: str) -> Path:
    """Returns the directory of a preset, downloading one of KerasHub's own.

    Not collective: processes coordinate through a file lock.

    Raises:
        CheckpointError: If there is no such directory or preset, or the download fails.
        SetupError: If KerasHub is not installed.
    """
    download = preset_download(preset)
    if download is None:
        return Path(preset).expanduser()
    finish(download)
    return download.folder


def digests_of_preset(preset: str) -> dict[str, str]:
    """Returns hashes of the files of a preset by their names, for comparison across ranks."""
    folder = preset_folder(preset)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in files}
