"""The power fails after each call to the file system, and what was not synced may be lost."""

import pytest

from hvd_imgcls.checkpoints.store import CheckpointStore
from tests.support.checkpoint_disks import QUERIES, FastDisk
from tests.support.checkpoint_power import PowerDisk, choices, lose_power, run_until_off
from tests.support.checkpoint_scenarios import SCENARIOS, calls_of, fresh_copy, require_sound
from tests.support.checkpoint_states import number_of

# After a call that only reads, the disk is as it was before.
CASES = [
    (name, k)
    for name in SCENARIOS
    for k in range(len(calls_of(name)[0]) + 1)
    if k == 0 or calls_of(name)[0][k - 1] not in QUERIES
]


@pytest.mark.parametrize("choice", choices(2))
@pytest.mark.parametrize(("name", "number"), CASES)
def test_power_lost_after_a_call(templates, folder, name, number, choice):
    directory = fresh_copy(templates / name, folder)
    lose_power(directory, name, number, choice)
    has_written = number >= calls_of(name)[1]
    require_sound(directory, SCENARIOS[name].allowed(has_written))


def recover(store):
    """What a run does when it starts: the newest of two checkpoints is damaged."""
    warnings = []
    assert number_of(store.newest(warnings.append)) == 1
    assert len(warnings) == 1
    store.clean()


@pytest.mark.parametrize("choice", choices(2))
@pytest.mark.parametrize("number", range(52))
def test_power_lost_while_a_damaged_one_is_set_aside(templates, folder, number, choice):
    directory = fresh_copy(templates / "third", folder)
    (directory / "step-00000002" / "ranks.bin").write_bytes(b"")
    (directory / "step-00000003.tmp-0123456789abcdef").mkdir()
    (directory / "step-00000003.tmp-0123456789abcdef" / "state.bin").write_bytes(b"1")
    run_until_off(directory, number, choice, recover)
    store = CheckpointStore(directory, FastDisk())
    assert number_of(store.newest(lambda warning: None)) == 1
    store.clean()
    assert sorted(path.name for path in directory.iterdir()) == [
        "damaged-step-00000002",
        "latest.json",
        "step-00000001",
    ]


def test_the_model_of_a_disk_is_the_disk(templates, folder):
    """Nothing is lost of what was synced, so that a full run remains as it is."""
    directory = fresh_copy(templates / "third", folder)
    disk = PowerDisk(directory.parent)
    SCENARIOS["third"].operate(CheckpointStore(directory, disk))
    before = {path: path.is_dir() or path.read_bytes() for path in directory.rglob("*")}
    disk.remains("names")
    assert {path: path.is_dir() or path.read_bytes() for path in directory.rglob("*")} == before
