"""The pointer to the newest checkpoint. It is a hint: the directories say which there are."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.manifest import MAX_MANIFEST_BYTES
from hvd_imgcls.checkpoints.names import POINTER, CheckpointName, parse_name, temporary
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError
from hvd_imgcls.checkpoints.reading_files import read_whole
from hvd_imgcls.checkpoints.saving import removed_on_error
from hvd_imgcls.checkpoints.sealed_json import seal, unseal
from hvd_imgcls.checkpoints.writing_files import write_whole


def write_pointer(directory: Path, name: CheckpointName, disk: Disk) -> None:
    """Replaces the pointer, and syncs it to disk.

    Args:
        directory: The directory of the store.
        name: The name of the newest checkpoint.
        disk: The file system.

    Raises:
        OSError: If it cannot be written.
    """
    new = directory / temporary(POINTER)
    with removed_on_error(new, disk):
        write_whole(new, seal({"checkpoint": str(name)}), disk)
        disk.rename(new, directory / POINTER)
    disk.sync_directory(directory)


def read_pointer(directory: Path, disk: Disk) -> CheckpointName:
    """Returns the name in the pointer.

    Args:
        directory: The directory of the store.
        disk: The file system.

    Raises:
        CheckpointError: If it is missing, damaged, or cannot be read.
    """
    path = directory / POINTER
    content = read_whole(path, MAX_MANIFEST_BYTES, disk)
    try:
        name = parse_name(str(unseal(content).get("checkpoint")))
    except ValueError as error:
        raise DamagedCheckpointError(path, f"damaged: {error}") from error
    if name is None:
        raise DamagedCheckpointError(path, "damaged: expected the name of a checkpoint")
    return name
