"""Checkpoint stores without one of their protections, in which tests must find the fault."""

import contextlib

from hvd_imgcls.checkpoints.names import removing
from hvd_imgcls.checkpoints.pointer import write_pointer
from hvd_imgcls.checkpoints.removal import remove_checkpoint, remove_tree
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError


class WritesInPlace(CheckpointStore):
    """Does not write under a temporary name first."""

    def _write_directory(self, name, encoded):
        manifest = encoded.write(self.directory / str(name), self._disk)
        self._disk.sync_directory(self.directory)
        return manifest


class PointsFirst(CheckpointStore):
    """Writes the pointer before the checkpoint that it names."""

    def _write_directory(self, name, encoded):
        write_pointer(self.directory, name, self._disk)
        return super()._write_directory(name, encoded)


class RemovesFirst(CheckpointStore):
    """Removes a checkpoint of the same step before the new one is complete."""

    def _write_directory(self, name, encoded):
        for other in self._found():
            if other.step == name.step:
                remove_checkpoint(self.directory / str(other), self._disk)
        return super()._write_directory(name, encoded)

    def _remove_replaced(self, entry, earlier):
        pass


class RetainsFirst(CheckpointStore):
    """Removes all checkpoints before the new one is complete."""

    def _write_directory(self, name, encoded):
        for other in self._found():
            remove_checkpoint(self.directory / str(other), self._disk)
        return super()._write_directory(name, encoded)


class RemovesInPlace(CheckpointStore):
    """Does not rename what it removes."""

    def retain(self, keep_last, keep):
        for name in self._found()[:-keep_last]:
            remove_tree(self.directory / str(name), self._disk)


class RemovesUnsynced(CheckpointStore):
    """Does not wait for the new name of what it removes."""

    def retain(self, keep_last, keep):
        for name in self._found()[:-keep_last]:
            renamed = self.directory / removing(str(name))
            self._disk.rename(self.directory / str(name), renamed)
            remove_tree(renamed, self._disk)


class TrustsTheNewest(CheckpointStore):
    """Does not read the newest checkpoint before it removes others."""

    def _is_sound(self, name):
        return True


class LeavesTemporary(CheckpointStore):
    """Leaves an incomplete directory after an error, under its own name."""

    def _write_directory(self, name, encoded):
        new = self.directory / f"incomplete-{name}"
        manifest = encoded.write(new, self._disk)
        self._disk.rename(new, self.directory / str(name))
        return manifest


class IgnoresErrors(CheckpointStore):
    """Says that all is well after an error."""

    def write(self, step, states, states_by_rank, facts):
        with contextlib.suppress(CheckpointError):
            super().write(step, states, states_by_rank, facts)


STORES = {
    "sound": CheckpointStore,
    "writes in place": WritesInPlace,
    "points first": PointsFirst,
    "removes first": RemovesFirst,
    "retains first": RetainsFirst,
    "removes in place": RemovesInPlace,
    "removes without syncing": RemovesUnsynced,
    "leaves incomplete": LeavesTemporary,
    "ignores errors": IgnoresErrors,
}
