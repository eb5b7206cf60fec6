"""Dividing the cores of a host over its ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.environment.affinity import share_of

SAY = """
import json, os
from hvd_imgcls.environment import affinity
affinity.pin_to_share()
print(json.dumps([sorted(os.sched_getaffinity(0)), sorted(affinity.cores_of_local_ranks())]))
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
