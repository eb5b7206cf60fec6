"""Ranks that srun has started: place, cores, and what must be started instead."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.distributed import starting
from hvd_imgcls.environment import affinity
from hvd_imgcls.environment.slurm_task import slurm_task
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError, SetupError
from hvd_imgcls.horovod_build.local_ranks import _without_launcher

TASK = {
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURMD_NODENAME": "n2",
    "SLURM_LOCALID": "1",
    "SLURM_GTIDS": "2,3",
    "SLURM_CPU_BIND_TYPE": "mask_cpu:",
    "SLURM_CPU_BIND_LIST": "0x3,0xC",
}


@given(st.integers(2, 64), st.integers(1, 16), st.data())
def test_a_task_knows_its_place_among_those_of_its_node(num_tasks, local_size, data):
    local_size = min(num_tasks, local_size)
    first = data.draw(st.integers(0, num_tasks - local_size))
    local_rank = data.draw(st.integers(0, local_size - 1))
    variables = {
        "SLURM_PROCID": str(first + local_rank),
        "SLURM_STEP_NUM_TASKS": str(num_tasks),
        "SLURM_LOCALID": str(local_rank),
        "SLURM_GTIDS": ",".join(str(first + index) for index in range(local_size)),
    }
    task = slurm_task(variables)
    assert (task.local_rank, task.local_size) == (local_rank, local_size)
    assert launched_rank_and_size(variables) == (first + local_rank, num_tasks)
    assert affinity.launched_local_size(variables) == local_size
    assert affinity.launched_local_rank(variables) == local_rank


@pytest.mark.parametrize(
    ("masks", "is_bound"),
    [("0x1,0x2", True), ("0x3,0xC", True), ("0x3,0x3", False), ("", False), ("0x1", False)],
)
def test_tasks_are_bound_if_their_cores_differ(masks, is_bound):
    assert affinity.is_bound({**TASK, "SLURM_CPU_BIND_LIST": masks}) is is_bound


def test_a_bound_task_keeps_all_its_cores_and_an_unbound_one_takes_its_share(monkeypatch):
    pinned = []
    monkeypatch.setattr(affinity, "_before_pinning", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: pinned.append(cores))
    of_launch = {"HOROVOD_RANK": "3", "HOROVOD_SIZE": "4", "HOROVOD_LOCAL_RANK": "1"}
    of_launch |= {"HOROVOD_LOCAL_SIZE": "2", "HOROVOD_HOSTNAME": "n2"}
    for more in ({}, of_launch):
        affinity.pin_to_share({**TASK, **more})
        assert pinned == []
        affinity.pin_to_share({**TASK, **more, "SLURM_CPU_BIND_LIST": ""})
        assert pinned == [[6, 7]]
        pinned.clear()
        monkeypatch.setattr(affinity, "_before_pinning", None)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_JOB_ID": "7", "SLURM_GTIDS": "0"},  # a script of sbatch
        {**TASK, "SLURM_STEP_NUM_TASKS": "1"},
        {**TASK, "OMPI_COMM_WORLD_RANK": "5"},  # of mpirun, whose helper srun has started
        # Of horovodrun, which a task has called.
        {**TASK, "HOROVOD_RANK": "1", "HOROVOD_HOSTNAME": "n2"},
        {**TASK, "HOROVOD_RANK": "3", "HOROVOD_HOSTNAME": "localhost"},
    ],
)
def test_what_srun_did_not_start_as_a_rank_is_no_task(variables):
    assert slurm_task(variables) is None


def test_variables_without_numbers_are_refused():
    with pytest.raises(ConfigError, match="SLURM_STEP_NUM_TASKS: got 'two'"):
        slurm_task({**TASK, "SLURM_STEP_NUM_TASKS": "two"})


@pytest.fixture
def built(monkeypatch):
    """A function that sets how Horovod is built."""

    def build(with_mpi):
        monkeypatch.setattr(starting, "horovod_build_record", lambda: {"with_mpi": with_mpi})

    return build


def test_tasks_without_mpi_are_told_to_use_the_launcher_at_once(built):
    built(with_mpi=False)
    with pytest.raises(SetupError, match=r"4 tasks.*train separately(?s:.*)hvd-imgcls launch"):
        starting._require_mpi_of_slurm({**TASK, "PMIX_RANK": "3"})


def test_mpi_without_pmix_is_told_at_once_instead_of_failing_in_mpi_init(built):
    built(with_mpi=True)
    with pytest.raises(SetupError, match=r"without PMIx(?s:.*)srun --mpi=pmix"):
        starting._require_mpi_of_slurm(TASK)
    starting._require_mpi_of_slurm({**TASK, "PMIX_RANK": "3"})


def test_ranks_of_our_launcher_and_single_processes_need_no_mpi(built):
    built(with_mpi=False)
    starting._require_mpi_of_slurm({**TASK, "HOROVOD_RANK": "3", "HOROVOD_SIZE": "4"})
    starting._require_mpi_of_slurm({})


def test_the_ranks_of_a_self_test_do_not_inherit_a_launcher():
    kept = {"PATH": "/bin", "HOROVOD_LOG_LEVEL": "info", "LD_LIBRARY_PATH": "/lib", "TF_X": "1"}
    launched = {
        **dict.fromkeys(("HOROVOD_RANK", "HOROVOD_LOCAL_SIZE", "HOROVOD_CROSS_RANK"), "1"),
        **dict.fromkeys(("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_RENDEZVOUS_SECRET"), "1"),
        **dict.fromkeys(("HOROVOD_CONTROLLER", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"), "1"),
    }
    assert _without_launcher({**kept, **launched, **TASK}) == kept
