"""Reads and verifies the directory of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.entry import Checkpoint, Entry
from hvd_imgcls.checkpoints.manifest import Manifest, read_manifest
from hvd_imgcls.checkpoints.names import RANKS, STATE
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError
from hvd_imgcls.checkpoints.reading_files import verify_file
from hvd_imgcls.checkpoints.values import read_value
from hvd_imgcls.errors import CheckpointError


def as_entry(path: Path, step: int, disk: Disk) -> Entry:
    """Returns what the manifest of a checkpoint says, or what is wrong with the manifest.

    Args:
        path: The directory of the checkpoint.
        step: The step in its name.
        disk: The file system.
    """
    try:
        return entry_of(path, read_manifest(path, step, disk))
    except CheckpointError as error:
        return Entry(step, path, problem=str(error))


def entry_of(path: Path, manifest: Manifest) -> Entry:
    """Returns the entry of a checkpoint.

    Args:
        path: Its directory.
        manifest: Its manifest.
    """
    size = sum(file.bytes for file in manifest.files.values())
    return Entry(manifest.step, path, manifest.facts, size, manifest.created)


def verify_checkpoint(path: Path, step: int, disk: Disk) -> None:
    """Compares sizes and digests of all files of a checkpoint, which are read in pieces.

    Args:
        path: The directory of the checkpoint.
        step: The step in its name.
        disk: The file system.

    Raises:
        CheckpointError: If a file is missing, damaged, or cannot be read.
    """
    manifest = read_manifest(path, step, disk)
    for name, file in manifest.files.items():
        verify_file(path / name, file.bytes, file.sha256, disk)


def read_checkpoint(path: Path, step: int, disk: Disk) -> Checkpoint:
    """Reads a checkpoint, and compares the digests of all its files on the way.

    Args:
        path: The directory of the checkpoint.
        step: The step in its name.
        disk: The file system.

    Raises:
        CheckpointError: If a file is missing, damaged, or cannot be read.
    """
    manifest = read_manifest(path, step, disk)
    states = read_value(path, STATE, manifest.files, disk)
    states_by_rank = read_value(path, RANKS, manifest.files, disk)
    if not _are_states(states):
        raise DamagedCheckpointError(path / f"{STATE}.json", "damaged: expected states by name")
    if not isinstance(states_by_rank, list) or not all(_are_states(one) for one in states_by_rank):
        raise DamagedCheckpointError(path / f"{RANKS}.json", "damaged: expected states by rank")
    return Checkpoint(step, path, states, states_by_rank, manifest.facts)


def _are_states(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(state, dict) for state in value.values())
