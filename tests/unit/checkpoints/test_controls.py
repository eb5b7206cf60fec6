"""The tests with faults find a fault: each protection is taken out, and then something is lost."""

import errno

import pytest

from hvd_imgcls.checkpoints import manifest, newest, problems
from hvd_imgcls.checkpoints.reading_files import FileReader
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.json_files import parse_json
from tests.support.checkpoint_disks import FailingDisk
from tests.support.checkpoint_power import choices, lose_power
from tests.support.checkpoint_scenarios import SCENARIOS, calls_of, fresh_copy, require_sound
from tests.support.checkpoint_variants import STORES, TrustsTheNewest
from tests.unit.checkpoints import test_corruption, test_read_errors, test_write_errors

LOSSES = (AssertionError, CheckpointError, pytest.fail.Exception)


def is_lost(check, *args, **kwargs):
    """Returns whether a check finds a loss."""
    try:
        check(*args, **kwargs)
    except LOSSES:
        return True
    return False


def is_sound(directory, name, number, store):
    has_written = number >= calls_of(name, store)[1]
    return not is_lost(require_sound, directory, SCENARIOS[name].allowed(has_written))


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("writes in place", "first"),
        ("writes in place", "third"),
        ("points first", "first"),
        ("points first", "third"),
        ("removes first", "again"),
        ("retains first", "third"),
        ("removes in place", "third"),
    ],
)
def test_kills_find(templates, folder, process, variant, name):
    for number in range(1, len(calls_of(name, STORES[variant])[0]) + 1):
        directory = fresh_copy(templates / name, folder)
        process.kill(directory, name, number, store=variant)
        if not is_sound(directory, name, number, STORES[variant]):
            return
    pytest.fail("no loss was found")


def ignores_files(name, *args):
    return name == "sync"


def ignores_names_of_files(name, *args):
    return name == "sync_directory" and ".tmp-" in args[0].name


def ignores_names_of_checkpoints(name, *args):
    return name == "sync_directory" and args[0].name == "checkpoints"


def ignores_name_of_the_store(name, *args):
    return name == "sync_directory" and args[0].name == "run"


def require_losses(templates, folder, name, kinds=None, store=CheckpointStore, **how):
    """Asserts that power losses of these kinds, or of any, lose something after some call."""
    found = set()
    for number in range(len(calls_of(name, store)[0]), 0, -1):
        for choice in choices(2):
            directory = fresh_copy(templates / name, folder)
            lose_power(directory, name, number, choice, store=store, **how)
            if not is_sound(directory, name, number, store):
                found.add(choice)
        if found and found >= (kinds or set()):
            return
    pytest.fail(f"losses were found for {found}, expected {kinds or 'any'}")


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(
    ("ignores", "kinds"),
    [
        (ignores_files, {"nothing", "names", "names and sizes"}),
        (ignores_names_of_files, {"nothing", "contents"}),
        (ignores_names_of_checkpoints, {"nothing", "contents"}),
    ],
)
def test_power_losses_find_missing_syncs(templates, folder, name, ignores, kinds):
    require_losses(templates, folder, name, kinds, ignores=ignores)


def test_power_losses_find_a_store_whose_name_is_not_synced(templates, folder):
    kinds = {"nothing", "contents"}
    require_losses(templates, folder, "first", kinds, ignores=ignores_name_of_the_store)


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("writes in place", "third"),
        ("points first", "third"),
        ("removes first", "again"),
        ("retains first", "third"),
        ("removes in place", "third"),
        ("removes without syncing", "third"),
    ],
)
def test_power_losses_find(templates, folder, variant, name):
    require_losses(templates, folder, name, store=STORES[variant])


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("ignores errors", "third"),
        ("leaves incomplete", "third"),
        ("writes in place", "third"),
        ("removes first", "again"),
    ],
)
def test_write_errors_find(templates, folder, variant, name):
    found = [
        number
        for number in range(1, len(calls_of(name, STORES[variant])[0]) + 1)
        if is_lost(
            test_write_errors.fail,
            fresh_copy(templates / name, folder),
            name,
            number,
            errno.ENOSPC,
            False,
            STORES[variant],
        )
    ]
    assert found


def test_corruption_finds_a_manifest_without_digest(templates, folder, monkeypatch):
    monkeypatch.setattr(manifest, "unseal", parse_json)
    assert is_lost(test_corruption.test_every_bit_of_a_manifest_counts, templates, folder)


@pytest.mark.parametrize("name", ["state.bin", "ranks.bin", "state.json", "ranks.json"])
def test_corruption_finds_files_without_digests(templates, folder, monkeypatch, name):
    monkeypatch.setattr(FileReader, "require_digest", lambda self, expected: None)
    found = [
        how
        for how in test_corruption.DAMAGES
        if is_lost(test_corruption.test_a_damaged_file, templates, folder, name, how)
    ]
    assert "a bit of the middle" in found


def test_corruption_finds_a_start_from_nothing(templates, folder, monkeypatch):
    monkeypatch.setattr(newest, "_require_none", lambda directory, names, problems: None)
    test = test_corruption.test_all_are_damaged
    assert is_lost(test, templates, folder, "state.bin", "half")


def test_corruption_finds_a_retention_that_trusts_the_newest(templates, folder, monkeypatch):
    monkeypatch.setattr(test_corruption, "CheckpointStore", TrustsTheNewest)
    test = test_corruption.test_retention_keeps_the_newest_sound_one
    assert is_lost(test, templates, folder, "state.bin", "half")


def test_read_errors_find_a_store_that_takes_them_for_damage(templates, folder, monkeypatch):
    monkeypatch.setattr(problems, "_SIGNS_OF_DAMAGE", (errno.EIO,))
    found = [
        number
        for number in range(1, test_read_errors.count_reads() + 1)
        if is_lost(
            test_read_errors.test_a_read_fails_once,
            fresh_copy(templates / "third", folder),
            number,
            errno.EIO,
        )
    ]
    assert found


def test_read_errors_find_a_retention_that_trusts_the_newest(templates, folder):
    directory = fresh_copy(templates / "third", folder)
    disk = FailingDisk(1, errno.EIO, stays=True, methods=["open"])
    assert CheckpointStore(directory, disk).retain(1) == []
    assert TrustsTheNewest(directory, disk).retain(1) == [1]
