"""The checkpoints of a run, in one directory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.entry import Checkpoint, Entry
from hvd_imgcls.checkpoints.finding import checkpoints_in, names_in
from hvd_imgcls.checkpoints.loading import (
    as_entry,
    entry_of,
    read_checkpoint,
    verify_checkpoint,
)
from hvd_imgcls.checkpoints.manifest import Manifest
from hvd_imgcls.checkpoints.names import CheckpointName, is_left_over, temporary
from hvd_imgcls.checkpoints.newest import read_newest
from hvd_imgcls.checkpoints.pointer import write_pointer
from hvd_imgcls.checkpoints.removal import remove_checkpoint, remove_tree
from hvd_imgcls.checkpoints.retention import superfluous
from hvd_imgcls.checkpoints.saving import (
    EncodedCheckpoint,
    encode_checkpoint,
    make_directories,
    removed_on_error,
    writing,
)
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.state_registry import State


class CheckpointStore:
    """The checkpoints of a run. Only one process may write at a time. See docs/checkpoints.md.

    Args:
        directory: Their directory; it need not exist. Other files in it are left alone.
        disk: The file system.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.directory = directory
        self._disk = disk or Disk()
        # Written by this object, and so with the content that the manifest says.
        self._written: set[CheckpointName] = set()

    def write(
        self,
        step: int,
        states: Mapping[str, State],
        states_by_rank: Sequence[Mapping[str, State]],
        facts: Mapping[str, Any],
    ) -> Entry:
        """Writes a checkpoint. When this returns, it survives a power failure.

        A checkpoint of the same step is replaced: it is removed once the new one is complete.

        Args:
            step: Completed steps.
            states: The states of the root, by name; not changed until this returns.
            states_by_rank: For each of the ranks from 1, those states that differ from the
                root's. Empty if there is only the root.
            facts: Facts about the checkpoint, JSON, for `entries`.

        Raises:
            TypeError: If a state contains something that cannot be saved.
            ValueError: If a state is nested too deeply, or is too large without its arrays.
            CheckpointError: If it cannot be written. The earlier checkpoints are unchanged, and
                the new one is either complete or removed.
        """
        encoded = encode_checkpoint(step, states, states_by_rank, facts)
        with writing("written", self.directory):
            make_directories(self.directory, self._disk)
            earlier = [one for one in self._found() if one.step == step]
            name = CheckpointName(step, earlier[-1].revision + 1 if earlier else 0)
            manifest = self._write_directory(name, encoded)
            write_pointer(self.directory, name, self._disk)
            self._written.add(name)
            entry = entry_of(self.directory / str(name), manifest)
            self._remove_replaced(entry, earlier)
        return entry

    def entries(self) -> list[Entry]:
        """Returns all complete checkpoints, oldest first, from their manifests only.

        Raises:
            CheckpointError: If the directory cannot be read.
        """
        return [
            as_entry(self.directory / str(name), name.step, self._disk) for name in self._found()
        ]

    def verify(self, entry: Entry) -> None:
        """Compares sizes and digests of all files of a checkpoint.

        Raises:
            CheckpointError: If a file is missing, damaged, or cannot be read.
        """
        verify_checkpoint(entry.path, entry.step, self._disk)

    def read(self, entry: Entry) -> Checkpoint:
        """Reads a checkpoint, and verifies it on the way.

        Raises:
            CheckpointError: If a file is missing, damaged, or cannot be read.
        """
        return read_checkpoint(entry.path, entry.step, self._disk)

    def newest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """Reads the newest sound checkpoint; None if none was ever completed.

        Damaged checkpoints that are newer are renamed to `damaged-...`, once a sound one is read.
        Those that cannot be read now are left as they are.

        Args:
            warn: Receives a message for every newer checkpoint that was not taken, with the file
                and what is wrong with it.

        Raises:
            CheckpointError: If there are checkpoints, but none is sound; if one is of another
                version.
        """
        return read_newest(self.directory, warn, self._disk)

    def retain(self, keep_last: int, keep: Collection[int] = ()) -> list[int]:
        """Removes old checkpoints. The newest must be sound, so that one surely remains.

        It is read and verified, unless this object has written it.

        Args:
            keep_last: How many to keep, counted from the newest sound one; at least 1. Newer
                ones, which are damaged or cannot be read, are not counted and stay.
            keep: Steps whose checkpoints are kept as well.

        Returns:
            The steps of those that were removed.

        Raises:
            ValueError: If `keep_last` is less than 1.
            CheckpointError: If the directory cannot be read, or one cannot be removed.
        """
        if keep_last < 1:
            raise ValueError(f"keep_last: got {keep_last}, expected at least 1")
        found = self._found()
        if not found or not superfluous(found, found[-1], keep_last, keep):
            return []
        newest = next((name for name in reversed(found) if self._is_sound(name)), None)
        if newest is None:
            return []
        names = superfluous(found, newest, keep_last, keep)
        with writing("removed", self.directory):
            for name in names:
                remove_checkpoint(self.directory / str(name), self._disk)
        return [name.step for name in names]

    def clean(self) -> None:
        """Removes what killed processes have left: incomplete and partly removed checkpoints.

        Not while another process writes.

        Raises:
            CheckpointError: If the directory cannot be read, or something cannot be removed.
        """
        with writing("removed", self.directory):
            for name in names_in(self.directory, self._disk):
                if is_left_over(name):
                    remove_tree(self.directory / name, self._disk)

    def _found(self) -> list[CheckpointName]:
        return checkpoints_in(self.directory, self._disk)

    def _is_sound(self, name: CheckpointName) -> bool:
        if name in self._written:
            return True
        try:
            verify_checkpoint(self.directory / str(name), name.step, self._disk)
        except CheckpointError:
            return False
        return True

    def _write_directory(self, name: CheckpointName, encoded: EncodedCheckpoint) -> Manifest:
        new = self.directory / temporary(str(name))
        with removed_on_error(new, self._disk):
            manifest = encoded.write(new, self._disk)
            self._disk.rename(new, self.directory / str(name))
        self._disk.sync_directory(self.directory)
        return manifest

    def _remove_replaced(self, entry: Entry, earlier: list[CheckpointName]) -> None:
        if earlier:
            self.verify(entry)
        for name in earlier:
            remove_checkpoint(self.directory / str(name), self._disk)
