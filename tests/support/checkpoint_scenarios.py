"""What checkpoint stores are doing when something happens, and what must be true afterwards."""

import functools
import shutil
import tempfile
from pathlib import Path

from hvd_imgcls.checkpoints.store import CheckpointStore
from tests.support.checkpoint_disks import CountingDisk, FastDisk
from tests.support.checkpoint_states import number_of, write


class Scenario:
    """A store with some checkpoints, in which another one is written.

    Args:
        existing: Steps of the checkpoints that exist.
        step: The step that is written.
        number: The number of its states.
        keep_last: How many are kept.
    """

    def __init__(self, existing, step, number, keep_last):
        self.existing = existing
        self.step = step
        self.number = number
        self.keep_last = keep_last

    @property
    def before(self):
        return self.existing[-1] if self.existing else None

    def prepare(self, directory):
        store = CheckpointStore(directory, FastDisk())
        for step in self.existing:
            write(store, step)

    def write(self, store):
        write(store, self.step, self.number)

    def operate(self, store):
        self.write(store)
        store.retain(self.keep_last, ())

    def allowed(self, has_written):
        """Returns the numbers of the states that may be the newest."""
        return {self.number} if has_written else {self.before, self.number}


SCENARIOS = {
    "first": Scenario([], 1, 1, 2),
    "third": Scenario([1, 2], 3, 3, 2),
    "again": Scenario([1, 2], 2, 20, 1),
}


@functools.cache
def calls_of(name, variant=CheckpointStore):
    """Returns the calls of a scenario, and how many of them were made when `write` returned."""
    scenario = SCENARIOS[name]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "checkpoints"
        scenario.prepare(directory)
        disk = CountingDisk()
        store = variant(directory, disk)
        scenario.write(store)
        num_writing = len(disk.calls)
        store.retain(scenario.keep_last, ())
    return tuple(disk.calls), num_writing


def fresh_copy(template, folder):
    """Returns a new copy of a prepared directory, with the same parent as others."""
    directory = folder / "run" / "checkpoints"
    shutil.rmtree(folder / "run", ignore_errors=True)
    directory.parent.mkdir(parents=True)
    if template.exists():
        shutil.copytree(template, directory)
    return directory


def require_sound(directory, allowed):
    """Asserts that the newest checkpoint is an allowed one, and that the next can be written."""
    store = CheckpointStore(directory, FastDisk())
    warnings = []
    number = number_of(store.newest(warnings.append))
    assert number in allowed
    assert warnings == []
    for entry in store.entries():
        store.verify(entry)
    write(store, 9)
    assert number_of(store.newest(warnings.append)) == 9
    store.retain(1)
    store.clean()
    assert warnings == []
    assert sorted(path.name for path in directory.iterdir()) == ["latest.json", "step-00000009"]
