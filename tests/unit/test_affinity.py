"""Dividing the cores of a host over its ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.environment import affinity
from hvd_imgcls.environment.affinity import share_of, shares_of_bound

SAY = """
import json, os
from hvd_imgcls.environment import affinity
affinity.pin_to_share()
print(json.dumps([sorted(os.sched_getaffinity(0)), sorted(affinity.own_cores())]))
"""


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(1, 64))
def test_shares_divide_the_cores_evenly_whatever_their_number(cores, local_size):
    shares = [share_of(cores, rank, local_size) for rank in range(local_size)]
    if local_size > len(cores):
        assert all(share == sorted(cores) for share in shares)
        return
    assert sorted(core for share in shares for core in share) == sorted(cores)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def cores_with(**environment):
    said = subprocess.run(
        [sys.executable, "-c", SAY],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("launcher", ["HOROVOD", "OMPI_COMM_WORLD"])
def test_ranks_of_a_host_run_on_different_cores(launcher):
    everything = sorted(os.sched_getaffinity(0))
    seen = []
    for rank in range(2):
        place = {f"{launcher}_LOCAL_RANK": str(rank), f"{launcher}_LOCAL_SIZE": "2"}
        mine, before = cores_with(**place)
        assert before == everything
        seen += mine
    assert sorted(seen) == everything


def test_nothing_is_pinned_if_told_so_or_alone():
    everything = sorted(os.sched_getaffinity(0))
    place = {"HOROVOD_LOCAL_RANK": "0", "HOROVOD_LOCAL_SIZE": "2"}
    assert cores_with(HVD_IMGCLS_PIN="0", **place)[0] == everything
    assert cores_with(HOROVOD_LOCAL_RANK="0", HOROVOD_LOCAL_SIZE="1")[0] == everything
    assert cores_with()[0] == everything


CORES = sorted(os.sched_getaffinity(0))
needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
SAY_BOUND = """
import json, os, sys
from hvd_imgcls.environment import affinity
affinity.pin_to_share()
print(json.dumps([affinity.is_bound(), affinity.num_cores_of_local_ranks(),
    sorted(os.sched_getaffinity(0))]))
"""
RANK = {"HOROVOD_RANK": "0", "HOROVOD_SIZE": "2", "HOROVOD_LOCAL_RANK": "0"}


def said_by(*words, **environment):
    done = subprocess.run(
        [*words, sys.executable, "-c", SAY_BOUND],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@needs_two_cores
@pytest.mark.parametrize(
    "wrapper", [[], ["sh", "-c", '"$0" "$@"; exit']], ids=["directly", "in a shell"]
)
def test_a_rank_bound_by_its_launcher_keeps_its_cores_and_counts_those_of_the_others(wrapper):
    words = ["taskset", "-c", str(CORES[0]), *wrapper]
    bound, number, mine = said_by(*words, **RANK, HOROVOD_LOCAL_SIZE="2")
    assert (bound, number, mine) == (True, 2, CORES[:1])


@needs_two_cores
def test_a_rank_bound_to_several_cores_is_not_pinned_to_a_part_of_them(monkeypatch):
    monkeypatch.setattr(affinity, "is_bound", lambda *_: True)
    pinned = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *arguments: pinned.append(arguments))
    affinity.pin_to_share({**RANK, "HOROVOD_LOCAL_SIZE": "2"})
    assert pinned == []


@needs_two_cores
def test_ranks_of_a_launcher_that_is_bound_itself_are_not_bound():
    # The launcher: a shell without the variables of a rank.
    place = " ".join(f"{name}={value}" for name, value in RANK.items())
    script = f'{place} HOROVOD_LOCAL_SIZE=2 "$0" "$@"; exit'
    words = ["taskset", "-c", str(CORES[0]), "sh", "-c", script]
    assert said_by(*words) == [False, 1, CORES[:1]]


def test_without_ranks_nothing_is_bound():
    assert not affinity.is_bound({})
    assert said_by("taskset", "-c", str(CORES[0])) == [False, 1, CORES[:1]]


masks = st.frozensets(st.integers(0, 12), min_size=1)


@given(st.lists(masks, min_size=1, max_size=6))
def test_shares_of_bound_ranks_fit_the_cores_that_each_may_use(cores_by_rank):
    shared = shares_of_bound(cores_by_rank)
    if len(set(cores_by_rank)) == 1:
        assert shared is None
        return
    num_cores, shares = shared
    assert num_cores == len(set().union(*cores_by_rank))
    assert all(1 <= n <= len(cores) for n, cores in zip(shares, cores_by_rank, strict=True))
    # One core more for each rank that has less than one.
    assert sum(shares) <= num_cores + len(shares) - 1


def test_three_ranks_on_each_of_two_sockets_have_a_third_of_it():
    first, second = frozenset(range(9)), frozenset(range(9, 18))
    assert shares_of_bound([first] * 3 + [second] * 3) == (18, [3] * 6)
