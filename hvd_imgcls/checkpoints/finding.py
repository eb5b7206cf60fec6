"""Finds the checkpoints in the directory of a store."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.names import CheckpointName, parse_name
from hvd_imgcls.checkpoints.problems import UnreadableCheckpointError


def names_in(directory: Path, disk: Disk) -> list[str]:
    """Returns the names in the directory of a store; none if it does not exist.

    Args:
        directory: The directory.
        disk: The file system.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return disk.names(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableCheckpointError(directory, error) from error


def checkpoints_in(directory: Path, disk: Disk) -> list[CheckpointName]:
    """Returns the complete checkpoints, sound or damaged, by step and revision, oldest first.

    Args:
        directory: The directory of the store.
        disk: The file system.

    Raises:
        CheckpointError: If the directory cannot be read.
    """
    return complete(names_in(directory, disk))


def complete(names: list[str]) -> list[CheckpointName]:
    """Returns those names that are of complete checkpoints, by step and revision, oldest first.

    Args:
        names: All names in the directory of a store.
    """
    return sorted(name for name in map(parse_name, names) if name is not None)
