"""Each call of a store that reads fails. That is no damage: nothing is renamed or removed."""

import errno
import tempfile
from pathlib import Path

import pytest

from hvd_imgcls.checkpoints.problems import UnreadableCheckpointError
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from tests.support.checkpoint_disks import READS, CountingDisk, FailingDisk
from tests.support.checkpoint_scenarios import SCENARIOS, fresh_copy
from tests.support.checkpoint_states import number_of


def count_reads():
    """Returns how many calls `newest` makes if the newest checkpoint is sound; all are reads."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        SCENARIOS["third"].prepare(directory)
        disk = CountingDisk()
        assert number_of(CheckpointStore(directory, disk).newest(pytest.fail)) == 2
    assert set(disk.calls) <= set(READS)
    return len(disk.calls)


@pytest.fixture
def directory(templates, folder):
    return fresh_copy(templates / "third", folder)


def content(directory):
    return {path: path.is_dir() or path.read_bytes() for path in directory.rglob("*")}


def fail(directory, number, error, stays):
    """Reads the newest of two checkpoints while reading fails.

    Returns:
        The number of its states, or the error, and the warnings.
    """
    store = CheckpointStore(directory, FailingDisk(number, error, stays=stays, methods=READS))
    warnings = []
    before = content(directory)
    try:
        result = number_of(store.newest(warnings.append))
    except CheckpointError as problem:
        result = problem
    assert content(directory) == before
    return result, warnings


ERRORS = [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM, errno.EMFILE]
READ_ERRORS = pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
NUMBERS = pytest.mark.parametrize("number", range(1, count_reads() + 1))


@READ_ERRORS
@NUMBERS
def test_a_read_fails_once(directory, number, error):
    result, warnings = fail(directory, number, error, stays=False)
    if number == 1:
        assert isinstance(result, UnreadableCheckpointError)
        assert str(directory) in str(result)
        return
    assert len(warnings) == 1
    assert "cannot be read (" in warnings[0]
    where = directory / "latest.json" if result == 2 else directory / "step-00000002"
    assert result in (1, 2)
    assert warnings[0].startswith(str(where))
    assert ("left as it is" in warnings[0]) == (result == 1)
    assert number_of(CheckpointStore(directory).newest(pytest.fail)) == 2


@READ_ERRORS
@NUMBERS
def test_reads_fail_from_then_on(directory, number, error):
    result, warnings = fail(directory, number, error, stays=True)
    if result == 2:
        assert warnings[0].startswith(str(directory / "latest.json"))
    else:
        assert isinstance(result, CheckpointError)
        assert str(directory) in str(result)
        assert "cannot be read (" in str(result)


@READ_ERRORS
@NUMBERS
def test_a_read_fails_while_others_are_removed(directory, number, error):
    """`retain` must not remove what it may still need."""
    disk = FailingDisk(number, error, methods=READS)
    try:
        removed = CheckpointStore(directory, disk).retain(1)
    except CheckpointError:
        removed = []
    assert removed in ([], [1])
    assert number_of(CheckpointStore(directory).newest(pytest.fail)) == 2


def test_verify_and_read_name_the_file(directory):
    entry = CheckpointStore(directory).entries()[-1]
    store = CheckpointStore(directory, FailingDisk(1, errno.EIO, methods=["open"]))
    message = "manifest.json: cannot be read .Input/output error"
    with pytest.raises(UnreadableCheckpointError, match=message):
        store.verify(entry)
    store = CheckpointStore(directory, FailingDisk(1, errno.EACCES, methods=["open"]))
    with pytest.raises(UnreadableCheckpointError, match=r"manifest.json.*Permission denied"):
        store.read(entry)


def test_entries_are_listed_with_their_problem(directory):
    store = CheckpointStore(directory, FailingDisk(1, errno.EIO, methods=["open"]))
    first, second = store.entries()
    assert "Input/output error" in first.problem
    assert (first.bytes, first.created, first.facts) == (0, None, {})
    assert second.problem is None
