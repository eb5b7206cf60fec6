"""Checkpoints are written, listed, read and removed."""

import datetime
import errno
import fcntl
import os
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.names import CheckpointName, is_left_over, parse_name
from hvd_imgcls.checkpoints.retention import superfluous
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from tests.support.checkpoint_disks import CountingDisk, FailingDisk
from tests.support.checkpoint_states import is_same, number_of, states, write


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "run" / "checkpoints", Disk())


def names(store):
    return sorted(path.name for path in store.directory.iterdir())


def test_nothing_was_written(store):
    assert store.newest(pytest.fail) is None
    assert store.entries() == []
    assert store.retain(1) == []
    store.clean()
    assert not store.directory.exists()


def test_what_is_written_is_listed_and_read(store):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    written = [write(store, step) for step in (3, 1, 20)]
    entries = store.entries()
    assert entries == sorted(written, key=lambda entry: entry.step)
    assert [entry.step for entry in entries] == [1, 3, 20]
    for entry in entries:
        assert entry.path == store.directory / f"step-{entry.step:08d}"
        assert entry.facts == {"number": entry.step, "loss": float("inf")}
        files = [path for path in entry.path.iterdir() if path.name != "manifest.json"]
        assert entry.bytes == sum(path.stat().st_size for path in files)
        assert before <= entry.created <= datetime.datetime.now(datetime.UTC)
        assert entry.problem is None
        store.verify(entry)
        checkpoint = store.read(entry)
        assert number_of(checkpoint) == checkpoint.step == entry.step
        assert checkpoint.path == entry.path
    assert number_of(store.newest(pytest.fail)) == 20


def test_states_without_arrays_and_other_ranks(store):
    store.write(0, {}, [], {})
    checkpoint = store.newest(pytest.fail)
    assert (checkpoint.step, checkpoint.states, checkpoint.states_by_rank) == (0, {}, [])
    store.write(10**9, {"a": {}}, [{}, {"a": {"b": 1}}], {"x": float("nan")})
    checkpoint = store.newest(pytest.fail)
    assert checkpoint.step == 10**9
    assert checkpoint.states_by_rank == [{}, {"a": {"b": 1}}]
    assert is_same(checkpoint.facts, {"x": float("nan")})


def test_a_step_is_saved_again(store):
    write(store, 1)
    for number in (2, 3, 4):
        write(store, 2, number)
        assert number_of(store.newest(pytest.fail)) == number
    assert names(store) == ["latest.json", "step-00000001", "step-00000002.2"]


def test_an_earlier_revision_is_used_if_the_later_is_damaged(store):
    write(store, 2)
    (store.directory / "step-00000002").rename(store.directory / "kept")
    write(store, 2, 20)
    (store.directory / "step-00000002").rename(store.directory / "step-00000002.1")
    (store.directory / "kept").rename(store.directory / "step-00000002")
    assert number_of(store.newest(pytest.fail)) == 20
    (store.directory / "step-00000002.1" / "state.bin").write_bytes(b"")
    warnings = []
    assert number_of(store.newest(warnings.append)) == 2
    assert "step-00000002.1/state.bin: truncated: 0 bytes, expected" in warnings[0]


class WatchedDisk(Disk):
    """Remembers which pieces were written past the page cache."""

    piece_bytes = 8192

    def __init__(self):
        self.pieces = []

    def write(self, file, piece):
        count = super().write(file, piece)
        is_direct = bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT)
        self.pieces.append((len(piece), count, is_direct))
        return count


def can_be_direct(folder):
    try:
        os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("size", [8191, 8192, 8193, 3 * 8192, 3 * 8192 + 4096, 40_001])
def test_whole_pieces_are_written_past_the_page_cache(tmp_path, size):
    disk = WatchedDisk()
    store = CheckpointStore(tmp_path / "checkpoints", disk)
    values = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    # In parts, none of which begins at a page.
    parts = np.split(values, [min(9000, size), min(9001, size)])
    store.write(1, {"model": {"parts": parts}}, [], {})
    file = store.entries()[0].path / "state.bin"
    assert file.read_bytes() == values.tobytes()
    assert is_same(store.newest(pytest.fail).states, {"model": {"parts": parts}})
    whole = [piece for piece in disk.pieces if piece[0] == 8192]
    assert len(whole) == size // 8192
    assert all(piece == (8192, 8192, can_be_direct(tmp_path)) for piece in whole)
    assert not any(is_direct for length, _, is_direct in disk.pieces if length < 8192)


def test_old_checkpoints_are_removed(store):
    for step in range(1, 8):
        write(store, step)
    assert store.retain(3, [2, 4, 99]) == [1, 3]
    assert [entry.step for entry in store.entries()] == [2, 4, 5, 6, 7]
    assert store.retain(1) == [2, 4, 5, 6]
    assert store.retain(1) == []
    assert names(store) == ["latest.json", "step-00000007"]
    with pytest.raises(ValueError, match="keep_last: got 0"):
        store.retain(0)


NAMES = st.builds(CheckpointName, st.integers(0, 6), st.integers(0, 2))


@given(
    st.sets(NAMES, min_size=1), st.data(), st.integers(1, 4), st.sets(st.integers(0, 6), max_size=3)
)
def test_what_may_be_removed(found, data, keep_last, keep):
    newest = data.draw(st.sampled_from(sorted(found)))
    removed = superfluous(sorted(found), newest, keep_last, keep)
    kept = found - set(removed)
    assert removed == sorted(set(removed))
    assert newest in kept
    assert {name for name in found if name > newest} <= kept
    older = {name.step for name in found if name <= newest}
    assert {name.step for name in kept if name <= newest} == (
        set(sorted(older)[-keep_last:]) | (older & keep)
    )


def test_left_overs_are_cleaned_and_other_files_are_not(store):
    write(store, 1)
    for name in ("step-00000002.tmp-0123456789abcdef", "step-00000001.3.removing-0123456789abcdef"):
        (store.directory / name).mkdir()
        (store.directory / name / "state.bin").write_bytes(b"1")
    (store.directory / "latest.json.tmp-0123456789abcdef").write_bytes(b"")
    others = ["best.keras", "best.json", "step-1", "step-00000001.tmp", "damaged-step-00000003"]
    for name in others:
        (store.directory / name).write_text("")
    assert number_of(store.newest(pytest.fail)) == 1
    store.clean()
    assert names(store) == sorted(["latest.json", "step-00000001", *others])


@pytest.mark.parametrize(
    "name", ["step-1", "step-00000001.0", "step-00000001.01", "step-000000001", "step-00000001.x"]
)
def test_other_names_are_not_those_of_checkpoints(name):
    assert parse_name(name) is None
    assert not is_left_over(name)


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_damaged_checkpoint_that_cannot_be_renamed(store, error):
    write(store, 1)
    write(store, 2)
    (store.directory / "step-00000002" / "state.json").unlink()
    failing = CheckpointStore(store.directory, FailingDisk(1, error, methods=["rename"]))
    warnings = []
    assert number_of(failing.newest(warnings.append)) == 1
    assert "state.json: missing; it cannot be renamed to damaged-step-00000002" in warnings[0]
    assert "step-00000002" in names(store)


def test_removing_fails(store):
    for step in (1, 2):
        write(store, step)
    failing = CheckpointStore(store.directory, FailingDisk(1, errno.EACCES, methods=["rename"]))
    with pytest.raises(CheckpointError, match=r"cannot be removed \(Permission denied"):
        failing.retain(1)
    (store.directory / "step-00000002.tmp-0123456789abcdef").mkdir()
    failing = CheckpointStore(store.directory, FailingDisk(1, errno.EIO, methods=["is_directory"]))
    with pytest.raises(CheckpointError, match=r"cannot be removed \(Input/output error"):
        failing.clean()
    assert number_of(store.newest(pytest.fail)) == 2


def test_listing_reads_manifests_only(store):
    for step in (1, 2, 3):
        write(store, step)
    disk = CountingDisk()
    assert len(CheckpointStore(store.directory, disk).entries()) == 3
    assert disk.calls.count("open") == 3


LARGE = np.arange(2**22, dtype=np.float32).reshape(2**11, 2**11)


@pytest.mark.parametrize(
    "array", [LARGE, LARGE.T, LARGE[:, ::2], LARGE.astype(ml_dtypes.bfloat16)], ids=range(4)
)
def test_arrays_are_neither_copied_nor_read_twice(store, array):
    tracemalloc.start()
    store.write(1, {"model": {"kernel": array}}, [], {})
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read = store.newest(pytest.fail)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written < 6 * 2**20
    assert peak < array.nbytes + 6 * 2**20
    assert is_same(read.states["model"]["kernel"], array)


def test_tensorflow_is_not_imported():
    code = (
        "import sys, hvd_imgcls.checkpoints.store; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_relative_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = CheckpointStore(type(tmp_path)("checkpoints"))
    write(store, 1)
    assert number_of(store.newest(pytest.fail)) == 1


def test_states_are_plain(store):
    """A step of NumPy is a number; its scalars in a state are refused, as by the registry."""
    root, by_rank = states(1)
    assert store.write(np.int64(5), root, by_rank, {}).step == 5
    with pytest.raises(TypeError, match=r"state\.a\.b: float32"):
        store.write(6, {"a": {"b": np.float32(1)}}, [], {})
