"""Reads the newest sound checkpoint, whatever has happened to the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.entry import Checkpoint
from hvd_imgcls.checkpoints.finding import complete, names_in
from hvd_imgcls.checkpoints.loading import read_checkpoint
from hvd_imgcls.checkpoints.names import DAMAGED, POINTER, CheckpointName, is_set_aside, set_aside
from hvd_imgcls.checkpoints.pointer import read_pointer
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError, UnreadableCheckpointError
from hvd_imgcls.errors import CheckpointError

_Problems = dict[CheckpointName, DamagedCheckpointError | UnreadableCheckpointError]


def read_newest(directory: Path, warn: Callable[[str], None], disk: Disk) -> Checkpoint | None:
    """Returns the newest sound checkpoint, None if none was ever completed.

    Damaged checkpoints that are newer are renamed to `damaged-...`, once a sound one is read.
    Those that cannot be read now are left as they are.

    Args:
        directory: The directory of the store.
        warn: Receives a message for every newer checkpoint that was not taken, and why.
        disk: The file system.

    Raises:
        CheckpointError: If there are checkpoints, but none is sound; if one is of another version.
    """
    names = names_in(directory, disk)
    checkpoint, problems = _first_sound(directory, complete(names), disk)
    pointer_problems = _problems_of_pointer(directory, names, disk)
    if checkpoint is None:
        _require_none(directory, names, [*map(str, problems.values()), *pointer_problems])
        return None
    for problem in pointer_problems:
        warn(f"{problem}; continuing from {checkpoint.path.name}")
    for name, error in problems.items():
        action = "left as it is"
        if isinstance(error, DamagedCheckpointError):
            action = _set_aside(directory, str(name), names, disk)
        warn(f"{error}; {action}, continuing from {checkpoint.path.name}")
    return checkpoint


def _first_sound(
    directory: Path, found: list[CheckpointName], disk: Disk
) -> tuple[Checkpoint | None, _Problems]:
    problems: _Problems = {}
    for name in reversed(found):
        try:
            return read_checkpoint(directory / str(name), name.step, disk), problems
        except (DamagedCheckpointError, UnreadableCheckpointError) as error:
            problems[name] = error
    return None, problems


def _problems_of_pointer(directory: Path, names: list[str], disk: Disk) -> list[str]:
    if POINTER not in names:
        return []
    try:
        name = read_pointer(directory, disk)
    except CheckpointError as error:
        return [str(error)]
    is_known = str(name) in names or f"{DAMAGED}{name}" in names
    if is_known or any(other > name for other in complete(names)):
        return []
    return [f"{directory / POINTER}: names {name}, which is missing"]


def _require_none(directory: Path, names: list[str], problems: list[str]) -> None:
    problems += [f"{directory / name}: damaged" for name in sorted(filter(is_set_aside, names))]
    if problems:
        raise CheckpointError(
            f"{directory}: no sound checkpoint, expected at least one; remove the directory to "
            "start from the beginning\n  " + "\n  ".join(problems)
        )


def _set_aside(directory: Path, name: str, names: list[str], disk: Disk) -> str:
    new = set_aside(name, names)
    try:
        disk.rename(directory / name, directory / new)
        disk.sync_directory(directory)
    except OSError as error:
        return f"it cannot be renamed to {new} ({error.strerror or error})"
    return f"renamed to {new}"
