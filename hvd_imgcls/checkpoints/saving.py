"""Writes the directory of a checkpoint."""

from __future__ import annotations

import contextlib
import datetime
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.manifest import Manifest, encode_facts
from hvd_imgcls.checkpoints.names import MANIFEST, RANKS, STATE
from hvd_imgcls.checkpoints.removal import remove_tree
from hvd_imgcls.checkpoints.values import EncodedValue, encode_value
from hvd_imgcls.checkpoints.writing_files import write_whole
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.state_registry import State


@dataclass(frozen=True, slots=True)
class EncodedCheckpoint:
    """A checkpoint that is ready to be written.

    Attributes:
        step: Completed steps.
        root: The states of the root.
        ranks: The states of the other ranks.
        facts: Facts about the checkpoint.
    """

    step: int
    root: EncodedValue
    ranks: EncodedValue
    facts: dict[str, Any]

    def write(self, directory: Path, disk: Disk) -> Manifest:
        """Writes a new directory and syncs its files and their names to disk.

        The manifest is last, so that a directory with a manifest is complete.

        Args:
            directory: The directory; it must not exist.
            disk: The file system.

        Raises:
            OSError: If it cannot be written.
            ValueError: If the facts are too large.
        """
        disk.make_directory(directory)
        files = self.root.write(directory, STATE, disk) | self.ranks.write(directory, RANKS, disk)
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        manifest = Manifest(self.step, now, self.facts, files)
        write_whole(directory / MANIFEST, manifest.to_bytes(), disk)
        disk.sync_directory(directory)
        return manifest


def encode_checkpoint(
    step: int,
    states: Mapping[str, State],
    states_by_rank: Sequence[Mapping[str, State]],
    facts: Mapping[str, Any],
) -> EncodedCheckpoint:
    """Returns a checkpoint, ready to be written. Nothing is written if this fails.

    Args:
        step: Completed steps, 0 or more.
        states: The states of the root, by name.
        states_by_rank: For each of the ranks from 1, those states that differ from the root's.
        facts: Facts about the checkpoint, JSON.

    Raises:
        TypeError: If a state contains something that cannot be saved, or the facts are not JSON.
        ValueError: If the step is negative, or a state is nested too deeply or too large.
    """
    step = operator.index(step)
    if not 0 <= step < 10**18:
        raise ValueError(f"the step of a checkpoint: got {step}, expected 0 to 10^18 - 1")
    root = encode_value(dict(states))
    ranks = encode_value([dict(one) for one in states_by_rank])
    checkpoint = EncodedCheckpoint(step, root, ranks, dict(facts))
    encode_facts(checkpoint.facts)
    return checkpoint


def make_directories(path: Path, disk: Disk) -> None:
    """Creates a directory and those above it, as far as they are missing, and syncs them to disk.

    Args:
        path: The directory.
        disk: The file system.

    Raises:
        OSError: If one cannot be created.
    """
    if not disk.exists(path):
        if not disk.exists(path.parent):
            make_directories(path.parent, disk)
        disk.make_directory(path)
    # Also if it exists: the process that created it may have been killed before this.
    disk.sync_directory(path.parent)


@contextlib.contextmanager
def removed_on_error(path: Path, disk: Disk) -> Iterator[None]:
    """Removes a file or directory, as well as possible, if the `with` block raises.

    Args:
        path: The file or directory; it need not exist.
        disk: The file system.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            remove_tree(path, disk)
        raise


@contextlib.contextmanager
def writing(what: str, directory: Path) -> Iterator[None]:
    """Turns errors of the operating system in the `with` block into a CheckpointError.

    Args:
        what: What is done, as a past participle, such as "written".
        directory: The directory of the store.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or directory
        raise CheckpointError(
            f"{where}: cannot be {what} ({error.strerror or error}), expected a directory that "
            f"can be written and has space; the earlier checkpoints in {directory} are unchanged"
        ) from error
