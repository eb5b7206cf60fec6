"""What Slurm's variables say about an allocation, and what is refused."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.errors import ConfigError, SetupError
from hvd_imgcls.launcher.hosts import Host, assign
from hvd_imgcls.launcher.slurm import allocation as module
from hvd_imgcls.launcher.slurm.allocation import (
    Allocation,
    parse_counts,
    read_allocation,
    tasks_per_node,
)
from hvd_imgcls.launcher.slurm.step import srun_words
from hvd_imgcls.launcher.slurm.task import problem_of

COUNTS = st.lists(st.integers(1, 130), min_size=1, max_size=40)


def as_slurm_writes(counts):
    """Numbers of tasks as Slurm writes them: 2(x3),1."""
    groups = [(count, len(list(group))) for count, group in itertools.groupby(counts)]
    return ",".join(f"{count}(x{times})" if times > 1 else f"{count}" for count, times in groups)


@given(COUNTS)
def test_numbers_of_tasks_are_read_as_slurm_writes_them(counts):
    assert parse_counts(as_slurm_writes(counts)) == counts


@given(st.text(alphabet="0123456789(x),- ", max_size=12))
def test_any_other_text_is_refused_and_never_means_no_tasks(text):
    if re.fullmatch(r"[1-9]\d{0,5}(\(x[1-9]\d{0,5}\))?(,[1-9]\d{0,5}(\(x[1-9]\d{0,5}\))?)*", text):
        counts = parse_counts(text)
        assert len(counts) >= text.count(",") + 1
        assert min(counts) > 0
    else:
        with pytest.raises(ConfigError, match="SLURM_TASKS_PER_NODE: got"):
            parse_counts(text)


@given(COUNTS)
def test_a_task_per_node_unless_the_user_asked_for_tasks(counts):
    # Without --ntasks, the variable has the number of CPUs.
    variables = {"SLURM_TASKS_PER_NODE": as_slurm_writes(counts)}
    assert tasks_per_node(variables, len(counts)) == [1] * len(counts)
    variables["SLURM_NTASKS"] = str(sum(counts))
    assert tasks_per_node(variables, len(counts)) == counts


@given(COUNTS, st.integers(1, 5000), st.integers(1, 45))
def test_variables_that_contradict_each_other_are_refused(counts, total, num_nodes):
    variables = {"SLURM_TASKS_PER_NODE": as_slurm_writes(counts), "SLURM_NTASKS": str(total)}
    if (total, num_nodes) == (sum(counts), len(counts)):
        return
    with pytest.raises(ConfigError, match=f"expected {total} tasks on {num_nodes} nodes"):
        tasks_per_node(variables, num_nodes)


@given(COUNTS)
def test_a_task_where_the_plan_has_it_has_no_problem(counts):
    nodes = [Host(f"n{index}", count) for index, count in enumerate(counts)]
    for slot in assign(nodes, sum(counts)):
        variables = {
            "SLURM_PROCID": str(slot.rank),
            "SLURM_LOCALID": str(slot.local_rank),
            "SLURM_STEP_NUM_TASKS": str(slot.size),
            "SLURMD_NODENAME": slot.host,
        }
        assert problem_of(slot.environment(), variables) == ""
        for name in ("SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURMD_NODENAME"):
            assert "the plan was task" in problem_of(
                slot.environment(), {**variables, name: "4711"}
            )


def test_a_task_that_was_not_asked_for_is_a_problem():
    assert "did not ask for" in problem_of({}, {"SLURM_PROCID": "7"})


JOB = {
    "SLURM_JOB_ID": "12",
    "SLURM_JOB_NODELIST": "gpu[01-02]",
    "SLURM_NTASKS": "3",
    "SLURM_TASKS_PER_NODE": "2,1",
    "SLURM_CPUS_PER_TASK": "4",
}
SCONTROL = """#!/bin/sh
case "$*" in
"show hostnames gpu[01-02]") printf 'gpu01\\ngpu02\\n';;
"--oneliner show node gpu01,gpu02")
    echo "NodeName=gpu02 Arch=x86_64 NodeAddr=10.0.0.2 NodeHostName=gpu02 OS=Linux 6.1 #1 SMP"
    echo "NodeName=gpu01 Arch=x86_64 NodeAddr=10.0.0.1 NodeHostName=gpu01";;
*) echo "unexpected: $*" >&2; exit 1;;
esac
"""


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A `scontrol` that knows two nodes."""
    path = tmp_path / "scontrol"
    path.write_text(SCONTROL)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return path


@pytest.mark.usefixtures("scontrol")
def test_an_allocation_is_read():
    found = read_allocation(JOB)
    assert found.nodes == [Host("gpu01", 2), Host("gpu02", 1)]
    assert found.addresses == {"gpu01": "10.0.0.1", "gpu02": "10.0.0.2"}
    assert (found.job_id, found.cpus_per_task, found.num_tasks) == ("12", 4, 3)


@pytest.mark.usefixtures("scontrol")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SLURM_JOB_ID": None}, "hvd-imgcls launch: got .*submit a script with `sbatch`"),
        ({"SLURM_JOB_ID": "x;reboot"}, "SLURM_JOB_ID: got"),
        ({"SLURM_STEP_ID": "0"}, r"a task of srun \(step 0 of job 12\).* without srun"),
        ({"SLURM_HET_SIZE": "2"}, "expected a job with one component"),
        ({"SLURM_NTASKS": "0"}, "SLURM_NTASKS: got '0', expected a positive number"),
        ({"SLURM_NTASKS": "9" * 5000}, "SLURM_NTASKS: got '9999"),
        ({"SLURM_CPUS_PER_TASK": "-1"}, "SLURM_CPUS_PER_TASK: got '-1'"),
        ({"SLURM_JOB_NODELIST": "gpu[01-02];reboot"}, "SLURM_JOB_NODELIST: got"),
        ({"SLURM_JOB_NODELIST": None}, "SLURM_JOB_NODELIST: got ''"),
        ({"SLURM_TASKS_PER_NODE": None}, "SLURM_TASKS_PER_NODE: got ''"),
    ],
)
def test_what_is_no_allocation_is_refused(changes, said):
    variables = {key: value for key, value in {**JOB, **changes}.items() if value is not None}
    with pytest.raises(ConfigError, match=said):
        read_allocation(variables)


@pytest.mark.usefixtures("scontrol")
def test_the_step_of_a_batch_script_or_an_interactive_shell_is_no_task():
    for step in ("4294967291", "4294967290"):
        assert read_allocation({**JOB, "SLURM_STEP_ID": step}).num_tasks == 3


def test_scontrol_that_fails_is_named_with_what_it_said(scontrol):
    scontrol.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(SetupError, match=r"`scontrol show hostnames .*Unable to contact"):
        read_allocation(JOB)
    scontrol.write_text("#!/bin/sh\nexec sleep 60\n")
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(module, "_COMMAND_SECONDS", 0.2)
        with pytest.raises(SetupError, match="timed out"):
            read_allocation(JOB)


def test_without_scontrol_the_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="in PATH here"):
        read_allocation(JOB)


def test_srun_is_told_everything_that_variables_could_change():
    nodes = [Host("n1", 2), Host("n2", 1)]
    given_nodes = Allocation(job_id="1", nodes=nodes, cpus_per_task=None, addresses={})
    words = srun_words(["train.py", "--nodes=9"], given_nodes)
    assert words[:4] == ["srun", "--mpi=none", "--nodes=2", "--ntasks=3"]
    assert {"--export=ALL", "--distribution=block", "--kill-on-bad-exit=1"} < set(words)
    assert Path(words[-3]).name == "task.py"
    assert words[-2:] == ["train.py", "--nodes=9"]
    assert not any(word.startswith("--cpus-per-task") for word in words)
    with_cpus = Allocation(job_id="1", nodes=nodes, cpus_per_task=3, addresses={})
    assert "--cpus-per-task=3" in srun_words(["true"], with_cpus)
