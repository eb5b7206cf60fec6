"""The power fails after each call to the file system, and what was not synced may be lost."""

import pytest

from hvd_imgcls.checkpoints.store import CheckpointStore
from tests.support.checkpoint_power import PowerDisk, choices, lose_power
from tests.support.checkpoint_scenarios import SCENARIOS, calls_of, fresh_copy, require_sound

CASES = [(name, k) for name in SCENARIOS for k in range(len(calls_of(name)[0]) + 1)]


@pytest.mark.parametrize("choice", choices(3))
@pytest.mark.parametrize(("name", "number"), CASES)
def test_power_lost_after_a_call(templates, folder, name, number, choice):
    directory = fresh_copy(templates / name, folder)
    lose_power(directory, name, number, choice)
    has_written = number >= calls_of(name)[1]
    require_sound(directory, SCENARIOS[name].allowed(has_written))


def test_the_model_of_a_disk_is_the_disk(templates, folder):
    """Nothing is lost of what was synced, so that a full run remains as it is."""
    directory = fresh_copy(templates / "third", folder)
    disk = PowerDisk(directory.parent)
    SCENARIOS["third"].operate(CheckpointStore(directory, disk))
    before = {path: path.is_dir() or path.read_bytes() for path in directory.rglob("*")}
    disk.remains("names")
    assert {path: path.is_dir() or path.read_bytes() for path in directory.rglob("*")} == before
