"""The class names of a trained model, from the files next to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.class_lists import read_class_list
from hvd_imgcls.files.json_files import read_json
from hvd_imgcls.files.outside import MAX_RESULTS_BYTES
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir

EXPORTED_CLASSES = "classes.json"
"""Class names in a folder that `export` writes, as a JSON list."""

EXPORTED_LINES = "classes.txt"
"""The same as text, one per line."""


def run_of(model_path: Path) -> Path | None:
    """Returns the run directory that contains a model file, directly or in `checkpoints`."""
    for folder in (model_path.parent, model_path.parent.parent):
        if RunDir(folder).config.is_file():
            return folder
    return None


def class_names_of(model_path: Path) -> tuple[str, ...]:
    """Returns the class names of a model of a run or of an export, `[num_classes]`.

    Args:
        model_path: A `.keras` file or a SavedModel.

    Returns:
        The names; empty if the model is in neither a run directory nor an exported folder.

    Raises:
        CheckpointError: If the file with the names is damaged.
        ConfigError: The same, for an exported folder.
    """
    run_path = run_of(model_path)
    if run_path is not None:
        return class_names_of_run(run_path)
    for name in (EXPORTED_CLASSES, EXPORTED_LINES):
        path = model_path.absolute().parent / name
        if path.is_file():
            return read_class_list("--classes", path)
    return ()


def class_names_of_run(run_path: Path) -> tuple[str, ...]:
    """Returns the class names of a run, `[num_classes]`; empty if they were not recorded.

    Raises:
        CheckpointError: If the file is damaged.
    """
    files = RunDir(run_path)
    for path in (files.classes, EvaluationFiles(run_path).metrics):
        if path.is_file():
            try:
                tree = read_json(path, MAX_RESULTS_BYTES)
                return _names_in(tree["class_names"] if isinstance(tree, dict) else tree)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{path}: damaged ({error}); restore it, or pass --classes FILE"
                ) from error
    return ()


def _names_in(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("not a list of names")
    return tuple(value)
