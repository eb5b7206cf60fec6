"""Checkpoints that somebody made end in a CheckpointError, without memory, time or other files."""

import hashlib
import json
import os
import shutil
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvd_imgcls.checkpoints.manifest import MAX_MANIFEST_BYTES
from hvd_imgcls.checkpoints.sealed_json import seal, unseal
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from tests.support.checkpoint_disks import FastDisk
from tests.support.checkpoint_scenarios import fresh_copy
from tests.support.checkpoint_states import number_of, states, write


@pytest.fixture
def store(templates, folder):
    """A store with the checkpoints 1 and 2."""
    return CheckpointStore(fresh_copy(templates / "third", folder), FastDisk())


def change_manifest(path, change):
    """Changes the values in a manifest, and seals it again."""
    values = unseal((path / "manifest.json").read_bytes())
    del values["sha256"]
    (path / "manifest.json").write_bytes(seal(change(values) or values))


def replace(path, name, content):
    """Replaces a file of a checkpoint, and its size and digest in the manifest."""
    (path / name).write_bytes(content)
    file = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_manifest(path, lambda values: values["files"].update({name: file}))


def require_refused(store, name):
    """Asserts that the newest checkpoint is not read, without much memory, and the other one is."""
    tracemalloc.start()
    entry = store.entries()[-1]
    with pytest.raises(CheckpointError, match=name):
        store.read(entry)
    warnings = []
    assert number_of(store.newest(warnings.append)) == 1
    assert tracemalloc.get_traced_memory()[1] < 64e6
    tracemalloc.stop()
    assert len(warnings) == 1
    assert name in warnings[0]


def array(dtype="<f4", shape=(1,)):
    return {"value": {"model": {"a": {"$array": 0}}}, "arrays": [{"dtype": dtype, "shape": shape}]}


CONTENTS = {
    "empty": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"value": "\xff", "arrays": []}',
    "NaN": b'{"value": {"a": {"b": NaN}}, "arrays": []}',
    "a long number": b'{"value": {"a": {"b": ' + b"9" * 5000 + b'}}, "arrays": []}',
    "deep": b"[" * 100_000,
    "deep enough": b'{"value": ' + b"[" * 500 + b"]" * 500 + b', "arrays": []}',
    "a list": [],
    "a key more": {"value": {}, "arrays": [], "code": "import os"},
    "no states": {"value": [], "arrays": []},
    "a state that is none": {"value": {"model": 3}, "arrays": []},
    "arrays that are none": {"value": {}, "arrays": {"a": 1}},
    "an array that is none": {"value": {}, "arrays": [3]},
    "an array without a shape": {"value": {}, "arrays": [{"dtype": "<f4"}]},
    "a huge array": array(shape=[2**40]),
    "an array of all memory": array("<f8", [2**61]),
    "an array beyond all numbers": array(shape=[10**1000] * 60),
    "too many dimensions": array(shape=[1] * 1000),
    "dimensions beyond all arrays": array(shape=[0, 2**62, 2**62]),
    "a negative dimension": array(shape=[-1, -1]),
    "a dimension that is no number": array(shape=["1"]),
    "a dimension that is true": array(shape=[True]),
    "a shape that is none": array(shape=3),
    "Python objects": array("O"),
    "a record": array([["a", "<i4"]]),
    "a longer array": array(shape=[10_000]),
    "a shorter array": array(shape=[1]),
    "an index beyond": {"value": {"model": {"a": {"$array": 9}}}, "arrays": []},
    "an unknown mark": {"value": {"model": {"$class": "os.system"}}, "arrays": []},
}


@pytest.mark.parametrize("what", CONTENTS)
def test_contents_of_the_root(store, what):
    content = CONTENTS[what]
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    replace(store.directory / "step-00000002", "state.json", content)
    require_refused(store, "state.")


@pytest.mark.parametrize("what", [what for what in CONTENTS if what != "a list"])
def test_contents_of_the_ranks(store, what):
    content = CONTENTS[what]
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    replace(store.directory / "step-00000002", "ranks.json", content)
    require_refused(store, "ranks.")


MANIFESTS = {
    "another step": lambda values: values.update(step=3),
    "no step": lambda values: values.update(step="2"),
    "a step that is true": lambda values: values.update(step=True),
    "a path": lambda values: values["files"].update({"../x": {"bytes": 1, "sha256": "0"}}),
    "a file less": lambda values: values["files"].pop("ranks.bin"),
    "no files": lambda values: values.update(files=[]),
    "a size beyond all numbers": lambda v: v["files"]["state.bin"].update(bytes=10**4000),
    "a step beyond all numbers": lambda values: values.update(step=10**4000),
    "a negative size": lambda values: values["files"]["state.bin"].update(bytes=-1),
    "a huge size": lambda values: values["files"]["state.bin"].update(bytes=2**60),
    "a size that is none": lambda values: values["files"]["state.bin"].update(bytes=1.5),
    "a digest that is none": lambda values: values["files"]["state.bin"].update(sha256=None),
    "no digest": lambda values: values["files"]["state.bin"].pop("sha256"),
    "facts that are none": lambda values: values.update(facts=[]),
    "an array of facts": lambda values: values.update(facts={"a": {"$array": 0}}),
    "no facts": lambda values: values.pop("facts"),
    "no time": lambda values: values.update(created="yesterday"),
    "a time that is none": lambda values: values.update(created=3),
    "a time without zone": lambda values: values.update(created="2026-11-28T00:00:00"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_manifests(store, what):
    def change(values):
        MANIFESTS[what](values)

    change_manifest(store.directory / "step-00000002", change)
    require_refused(store, "state.bin" if what == "a huge size" else "manifest.json")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\0" * 1000, seal({"a": 1}), b"[" * 100_000, os.urandom(999)]
)
def test_other_contents_of_a_manifest(store, content):
    (store.directory / "step-00000002" / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        store.read(store.entries()[-1])


@pytest.mark.parametrize("key", ["format", "version"])
def test_another_version_is_not_damage(store, key):
    """It is neither renamed nor passed over: the version that wrote it can read it."""
    change_manifest(store.directory / "step-00000002", lambda values: values.update({key: 2}))
    with pytest.raises(CheckpointError, match="continue with the version of hvd_imgcls that wrote"):
        store.newest(pytest.fail)
    assert (store.directory / "step-00000002").is_dir()
    assert store.retain(1) == []


KINDS = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a file of the kernel": lambda path: path.symlink_to("/proc/self/status"),
    "4 TiB": lambda path: (path.touch(), os.truncate(path, 2**42)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.bin", "ranks.bin"])
def test_kinds_of_files(store, name, kind):
    path = store.directory / "step-00000002" / name
    path.unlink()
    KINDS[kind](path)
    require_refused(store, name)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pointers(store, kind):
    path = store.directory / "latest.json"
    path.unlink()
    KINDS[kind](path)
    warnings = []
    assert number_of(store.newest(warnings.append)) == 2
    assert "latest.json" in warnings[0]


def test_a_file_in_place_of_a_checkpoint(store):
    (store.directory / "step-00000003").write_text("")
    warnings = []
    assert number_of(store.newest(warnings.append)) == 2
    assert "step-00000003/manifest.json: Not a directory" in warnings[0]
    assert (store.directory / "damaged-step-00000003").is_file()


def test_a_large_manifest(store):
    (store.directory / "step-00000002" / "manifest.json").write_bytes(b" " * MAX_MANIFEST_BYTES)
    os.truncate(store.directory / "step-00000002" / "manifest.json", MAX_MANIFEST_BYTES + 1)
    require_refused(store, "manifest.json: 16,777,217 bytes, more than the 16,777,216 allowed")
    root, by_rank = states(2)
    with pytest.raises(ValueError, match=r"facts of a checkpoint: 16,\d+,\d+ bytes"):
        store.write(4, root, by_rank, {"a": "a" * MAX_MANIFEST_BYTES})
    assert not [path for path in store.directory.iterdir() if "step-00000004" in path.name]


def test_nothing_outside_is_removed(store, tmp_path):
    (tmp_path / "kept").write_text("")
    for name in ("step-00000001.removing-0123456789abcdef", "latest.json.tmp-0123456789abcdef"):
        (store.directory / name).symlink_to(tmp_path)
    inner = store.directory / "step-00000007.tmp-0123456789abcdef"
    inner.mkdir()
    (inner / "link").symlink_to(tmp_path)
    store.clean()
    assert (tmp_path / "kept").exists()
    assert sorted(path.name for path in store.directory.iterdir()) == [
        "latest.json",
        "step-00000001",
        "step-00000002",
    ]


def test_a_checkpoint_that_is_a_link_is_read_and_only_the_link_is_removed(store, tmp_path):
    shutil.move(store.directory / "step-00000002", tmp_path / "elsewhere")
    (store.directory / "step-00000002").symlink_to(tmp_path / "elsewhere")
    assert number_of(store.newest(pytest.fail)) == 2
    write(store, 3)
    assert store.retain(1) == [1, 2]
    assert (tmp_path / "elsewhere" / "state.bin").exists()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["state.json", "state.bin", "ranks.json", "ranks.bin"]),
    place=st.floats(0, 1),
    cut=st.integers(0, 40),
    added=st.one_of(st.binary(max_size=20), st.sampled_from([b"[", b"1e999", b"{}", b'"$array"'])),
)
def test_changed_files_with_right_digests(templates, folder, name, place, cut, added):
    """What has the right digests but was not written by us is read, or is a CheckpointError."""
    store = CheckpointStore(fresh_copy(templates / "third", folder), FastDisk())
    path = store.directory / "step-00000002"
    content = (path / name).read_bytes()
    start = round(place * len(content))
    replace(path, name, content[:start] + added + content[start + cut :])
    warnings = []
    checkpoint = store.newest(warnings.append)
    assert checkpoint.step == 2 - len(warnings)
