"""Agreement, process sets and starting, without any rank."""

from __future__ import annotations

import importlib.util

import pytest

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, starting
from hvd_imgcls.distributed.agreement import find_differences, name_ranks
from hvd_imgcls.errors import ConfigError, SetupError


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([3], "rank 3"),
        ([0, 2], "ranks 0, 2"),
        (range(8), "ranks 0, 1, 2, 3, 4, 5, 6, 7"),
        (range(64), "ranks 0, 1, 2 and 61 more"),
    ],
)
def test_ranks_are_named(ranks, expected):
    assert name_ranks(ranks) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"a": 1}, {"a": 1}], []),
        ([{"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}], ["a.b[1]: 2 on rank 0, 3 on rank 1"]),
        ([{"a": 1, "b": 1}, {"b": 1}], ["a: 1 on rank 0, (absent) on rank 1"]),
        ([{"a": 1}, {"a": 2}, {"a": 1}], ["a: 1 on ranks 0, 2, 2 on rank 1"]),
        ([[], [1]], [": [] on rank 0, (absent) on rank 1", "[0]: (absent) on rank 0, 1 on rank 1"]),
    ],
)
def test_differences_are_named_by_path_value_and_rank(values, expected):
    assert find_differences(values, range(len(values))) == expected


def test_process_set_knows_its_members_only_while_registered():
    members = ProcessSet([4, 2])
    assert (members.size(), members.rank(), members.included()) == (None, None, None)
    members.register(1, rank=4, size=6)
    assert (members.ranks, members.size(), members.rank(), members.included()) == (
        [2, 4],
        2,
        1,
        True,
    )
    members.register(1, rank=3, size=6)
    assert (members.rank(), members.included()) == (None, False)
    members.withdraw()
    assert members.size() is None


@pytest.mark.parametrize("ranks", [[0, 0], [0.5], ["a"], 1, object()])
def test_process_set_refuses_what_is_not_a_set_of_ranks(ranks):
    with pytest.raises(ConfigError, match="distinct integers"):
        ProcessSet(ranks)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([], "ranks 0 to 3"),
        ([-1], "ranks 0 to 3"),
        ([0, 4], "ranks 0 to 3"),
        ([2, 1], "other members"),
        ([3, 2, 1, 0], "other members"),
    ],
)
def test_new_process_set_has_ranks_of_the_run_and_other_members_than_any_other(ranks, expected):
    existing = [range(4), [1, 2]]
    ProcessSet([0, 1, 2]).require_new(4, existing)
    with pytest.raises(ConfigError, match=expected):
        ProcessSet(ranks).require_new(4, existing)


@pytest.fixture
def not_started(monkeypatch):
    """As in a new process that no launcher started."""
    monkeypatch.setattr(starting, "_current", None)
    for name in ("HOROVOD_RANK", "HOROVOD_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_before_init_every_question_names_the_fix(not_started):
    with pytest.raises(SetupError, match=r"hvd\.init\(\)"):
        distributed.current()


def test_alone_horovod_is_not_needed(not_started):
    not_started.setattr(importlib.util, "find_spec", lambda name: None)
    assert starting.start().topology.size == 1
    assert starting.start() is starting.current()


@pytest.mark.parametrize(
    "launcher",
    [
        {"HOROVOD_RANK": "0", "HOROVOD_SIZE": "2"},
        {"PMIX_RANK": "0"},
        {"SLURM_STEP_NUM_TASKS": "4"},
    ],
)
def test_launched_without_horovod_stops_instead_of_training_alone(not_started, launcher):
    not_started.setattr(importlib.util, "find_spec", lambda name: None)
    for name, value in launcher.items():
        not_started.setenv(name, value)
    with pytest.raises(SetupError, match="install-horovod"):
        starting.start()
    assert not distributed.is_started()
