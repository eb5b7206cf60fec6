"""Each call of a store that writes fails, as on a full or a broken disk."""

import contextlib
import errno
import os
import subprocess

import numpy as np
import pytest

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.outside import MIB
from tests.support.checkpoint_disks import FailingDisk
from tests.support.checkpoint_scenarios import SCENARIOS, calls_of, fresh_copy, require_sound
from tests.support.checkpoint_states import number_of, write

CASES = [(name, k) for name in SCENARIOS for k in range(1, len(calls_of(name)[0]) + 1)]
FAULTS = [
    pytest.param(errno.ENOSPC, False, id="full"),
    pytest.param(errno.ENOSPC, True, id="full-from-then-on"),
    pytest.param(errno.EIO, False, id="broken"),
]


def fail(directory, name, number, error, stays, store_class=CheckpointStore):
    """Runs a scenario whose call fails, and checks what remains."""
    scenario = SCENARIOS[name]
    store = store_class(directory, FailingDisk(number, error, stays=stays))
    written = False
    with contextlib.suppress(CheckpointError):
        scenario.write(store)
        written = True
        store.retain(scenario.keep_last, ())
    if not stays and not written and directory.exists():
        require_nothing_incomplete(directory, scenario)
    require_sound(directory, scenario.allowed(written))


def require_nothing_incomplete(directory, scenario):
    """Asserts that an error has left only complete checkpoints, except of one that is removed."""
    names = {path.name for path in directory.iterdir() if ".removing-" not in path.name}
    known = {"latest.json", *(f"step-{step:08d}" for step in [*scenario.existing, scenario.step])}
    assert names <= known | {f"step-{scenario.step:08d}.1"}


@pytest.mark.parametrize(("error", "stays"), FAULTS)
@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_call_fails(templates, folder, name, number, error, stays):
    fail(fresh_copy(templates / name, folder), name, number, error, stays)


def test_the_message_names_the_directory_and_the_reason(templates, folder):
    directory = fresh_copy(templates / "third", folder)
    num_calls = calls_of("third")[0].index("write") + 1
    store = CheckpointStore(directory, FailingDisk(num_calls, errno.ENOSPC))
    with pytest.raises(CheckpointError) as caught:
        write(store, 3)
    assert str(caught.value) == (
        f"{directory}: cannot be written (No space left on device), expected a directory that can "
        f"be written and has space; the earlier checkpoints in {directory} are unchanged"
    )
    assert caught.value.exit_code == 4
    assert caught.value.__cause__.errno == errno.ENOSPC


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request, tmp_path):
    """A file system of 1 or 12 MiB; the larger one is written past the page cache."""
    mounted, image = tmp_path / "mounted", tmp_path / "image"
    mounted.mkdir()
    commands = [["mount", "-t", "tmpfs", "-o", "size=1m", "none", mounted]]
    if request.param == "ext4":
        image.write_bytes(bytes(12 * MIB))
        commands = [["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, mounted]]
    if os.geteuid() != 0 or not all(map(succeeds, commands)):
        pytest.skip(f"cannot mount {request.param} here")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def succeeds(command):
    try:
        return not subprocess.run(command, check=False, capture_output=True).returncode
    except FileNotFoundError:
        return False


def test_a_full_disk(small_disk):
    store = CheckpointStore(small_disk / "checkpoints", Disk())
    write(store, 1)
    large = {"model": {"kernel": np.zeros(16 * MIB, np.uint8)}}
    for step in (2, 2, 3):
        with pytest.raises(CheckpointError, match="No space left on device"):
            store.write(step, large, [], {"number": step})
    assert number_of(store.newest(pytest.fail)) == 1
    assert sorted(path.name for path in store.directory.iterdir()) == [
        "latest.json",
        "step-00000001",
    ]
    require_sound(store.directory, {1})


def test_a_directory_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    store = CheckpointStore(tmp_path / "file" / "checkpoints")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write(store, 1)


@pytest.mark.parametrize("states", [{"a": {"b": object()}}, {"a": {"b": (1,)}}, {"a": {1: 2}}])
def test_a_state_that_cannot_be_saved_touches_nothing(tmp_path, states):
    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(TypeError, match=r"state\.a"):
        store.write(1, states, [], {})
    assert list(tmp_path.iterdir()) == []


def test_facts_and_steps_that_cannot_be_saved_touch_nothing(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(TypeError, match="facts"):
        store.write(1, {}, [], {"a": np.zeros(3)})
    with pytest.raises(ValueError, match="step"):
        store.write(-1, {}, [], {})
    assert list(tmp_path.iterdir()) == []
