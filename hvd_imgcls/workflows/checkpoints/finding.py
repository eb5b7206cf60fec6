"""Finds the checkpoint that a path means. Importing this does not import TensorFlow."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.checkpoints.entry import Checkpoint, Entry
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.run_directory.paths import RunDir


def store_of(run_dir: Path) -> CheckpointStore:
    """Returns the checkpoints of a run.

    Args:
        run_dir: The run directory.

    Raises:
        ConfigError: If it is not one.
    """
    files = RunDir(run_dir)
    if not files.config.is_file():
        raise ConfigError(
            "RUN",
            got=str(run_dir),
            expected="a run directory, which contains config.yaml",
            fix="pass the directory that hvd-imgcls train has written",
        )
    return CheckpointStore(files.checkpoints)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads the checkpoint at a path, or the newest sound one of a run.

    Args:
        path: A directory of a checkpoint, or a run directory.

    Raises:
        CheckpointError: If there is none, or if it is damaged.
    """
    store, entry = _choose(path)
    return store.read(entry)


def _choose(path: Path) -> tuple[CheckpointStore, Entry]:
    parent = CheckpointStore(path.parent)
    named = [entry for entry in parent.entries() if entry.path.name == path.name]
    if named:
        return parent, named[0]
    store = CheckpointStore(RunDir(path).checkpoints)
    for entry in reversed(store.entries()):
        if entry.problem is None:
            return store, entry
    raise CheckpointError(
        f"{path}: got neither a checkpoint nor a run directory with one; pass a directory such as "
        "runs/NAME/checkpoints/step-00001000, or the run directory"
    )
