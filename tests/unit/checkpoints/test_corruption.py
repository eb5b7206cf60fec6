"""Each file of the newest checkpoint, and the pointer, is damaged in several ways."""

import shutil

import pytest

from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from tests.support.checkpoint_disks import FastDisk
from tests.support.checkpoint_scenarios import fresh_copy
from tests.support.checkpoint_states import number_of, write

FILES = ["manifest.json", "state.json", "state.bin", "ranks.json", "ranks.bin"]


def flip(position):
    """Returns a change of one bit at a position, 0 for the first byte and 1 for the last."""

    def change(content):
        place = round(position * (len(content) - 1))
        changed = content[place] ^ (1 << (place % 8))
        return content[:place] + bytes([changed]) + content[place + 1 :]

    return change


DAMAGES = {
    "emptied": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a byte long": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "a bit of the head": flip(0),
    "a bit of the first quarter": flip(0.25),
    "a bit of the middle": flip(0.5),
    "a bit of the third quarter": flip(0.75),
    "a bit of the tail": flip(1),
    "deleted": None,
}


def damage(path, how):
    change = DAMAGES[how]
    if change is None:
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(change(content))
        assert path.read_bytes() != content


def three(templates, folder):
    """Returns a store with the checkpoints 1, 2 and 3, which another object has written."""
    directory = fresh_copy(templates / "third", folder)
    write(CheckpointStore(directory, FastDisk()), 3)
    return CheckpointStore(directory, FastDisk())


def require_fallback(store, step, name):
    """Asserts that the store falls back once, with a warning that names the file."""
    path = store.directory / f"step-{step:08d}"
    entry = next(entry for entry in store.entries() if entry.path == path)
    for look in (store.verify, store.read):
        with pytest.raises(CheckpointError, match=name):
            look(entry)
    warnings = []
    assert number_of(store.newest(warnings.append)) == step - 1
    assert len(warnings) == 1
    assert str(path / name) in warnings[0]
    assert f"renamed to damaged-{path.name}" in warnings[0]
    assert (store.directory / f"damaged-{path.name}").is_dir()
    assert number_of(store.newest(pytest.fail)) == step - 1


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(templates, folder, name, how):
    store = three(templates, folder)
    damage(store.directory / "step-00000003" / name, how)
    require_fallback(store, 3, name)
    damage(store.directory / "step-00000002" / name, how)
    require_fallback(store, 2, name)
    write(store, 2)
    assert number_of(store.newest(pytest.fail)) == 2


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_pointer(templates, folder, how):
    store = three(templates, folder)
    damage(store.directory / "latest.json", how)
    warnings = []
    assert number_of(store.newest(warnings.append)) == 3
    if how == "deleted":
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert str(store.directory / "latest.json") in warnings[0]
    write(store, 4)
    assert number_of(store.newest(pytest.fail)) == 4


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_retention_keeps_the_newest_sound_one(templates, folder, name, how):
    store = three(templates, folder)
    damage(store.directory / "step-00000003" / name, how)
    assert store.retain(1, ()) == [1]
    assert number_of(store.newest(lambda warning: None)) == 2


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_all_are_damaged(templates, folder, name, how):
    store = three(templates, folder)
    for entry in store.entries():
        damage(entry.path / name, how)
    before = sorted(path.name for path in store.directory.iterdir())
    with pytest.raises(CheckpointError) as caught:
        store.newest(pytest.fail)
    for step in (1, 2, 3):
        assert str(store.directory / f"step-{step:08d}" / name) in str(caught.value)
    assert store.retain(1, ()) == []
    assert sorted(path.name for path in store.directory.iterdir()) == before


def test_a_directory_that_was_deleted_is_noticed(templates, folder):
    store = three(templates, folder)
    shutil.rmtree(store.directory / "step-00000003")
    warnings = []
    assert number_of(store.newest(warnings.append)) == 2
    assert "latest.json: names step-00000003, which is missing" in warnings[0]
    for step in (1, 2):
        shutil.rmtree(store.directory / f"step-{step:08d}")
    with pytest.raises(CheckpointError, match="names step-00000003, which is missing"):
        store.newest(pytest.fail)


def test_what_was_set_aside_does_not_count_as_nothing(templates, folder):
    store = three(templates, folder)
    damage(store.directory / "step-00000003" / "state.bin", "half")
    store.newest(lambda warning: None)
    for name in ("step-00000001", "step-00000002"):
        shutil.rmtree(store.directory / name)
    (store.directory / "latest.json").unlink()
    with pytest.raises(CheckpointError, match="damaged-step-00000003: damaged"):
        store.newest(pytest.fail)


def test_a_step_that_is_damaged_twice_is_set_aside_twice(templates, folder):
    store = three(templates, folder)
    for number in ("", "-2", "-3"):
        damage(store.directory / "step-00000003" / "state.bin", "half")
        assert number_of(store.newest(lambda warning: None)) == 2
        assert (store.directory / f"damaged-step-00000003{number}").is_dir()
        write(store, 3)
    assert number_of(store.newest(pytest.fail)) == 3


def test_the_manifest_of_another_step_is_damage(templates, folder):
    store = three(templates, folder)
    (store.directory / "step-00000003").rename(store.directory / "step-00000007")
    warnings = []
    assert number_of(store.newest(warnings.append)) == 2
    assert "manifest.json: of step 3, expected 7" in warnings[0]


def test_every_bit_of_a_manifest_counts(templates, folder):
    store = three(templates, folder)
    path = store.directory / "step-00000003" / "manifest.json"
    content = path.read_bytes()
    for place in range(8 * len(content)):
        changed = content[place // 8] ^ (1 << (place % 8))
        path.write_bytes(content[: place // 8] + bytes([changed]) + content[place // 8 + 1 :])
        assert store.entries()[-1].problem is not None
