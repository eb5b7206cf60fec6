"""Ranks that their launcher has bound to cores know those of the whole host."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.program import PIPELINE, running

CORES = sorted(os.sched_getaffinity(0))
pytestmark = [
    pytest.mark.ranks(2),
    pytest.mark.skipif(len(CORES) < 2, reason="needs two cores"),
]

SAY = """
import os, sys
from hvd_imgcls import logs
from hvd_imgcls.workflows.startup.ranks import join_ranks
ranks = join_ranks(logs.Verbosity.QUIET)
import tensorflow as tf
pool = tf.config.threading.get_intra_op_parallelism_threads()
cores = sorted(os.sched_getaffinity(0))
print(f"<{ranks.topology.rank}: {ranks.threads}, {pool} threads on {cores}>", flush=True)
"""
FIRST = f"Threads(num_cores=2, intra_op=1, inter_op=1, data=1), 1 threads on [{CORES[0]}]>"
SECOND = f"Threads(num_cores=2, intra_op=1, inter_op=1, data=1), 1 threads on [{CORES[1]}]>"


def bound(words, cores_by_rank):
    """The command line that binds each rank before it starts, as mpirun does."""
    cases = "; ".join(f"{rank}) cores={cores};" for rank, cores in enumerate(cores_by_rank))
    script = f'case $HOROVOD_RANK in {cases} esac; exec taskset -c "$cores" "$0" "$@"'
    return ["sh", "-c", script, *words]


def test_two_ranks_bound_to_one_core_each_have_one_each(tmp_path):
    path = tmp_path / "say.py"
    path.write_text(SAY)
    words = bound([sys.executable, str(path)], CORES[:2])
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 0, program.output
        assert f"<0: {FIRST}" in program.output, program.output
        assert f"<1: {SECOND}" in program.output, program.output


def test_the_plan_of_bound_ranks_counts_the_cores_of_all(tmp_path):
    words = bound([sys.executable, "-m", "hvd_imgcls", "plan", PIPELINE], CORES[:2])
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(60) == 0, program.output
        assert "2 cores for 2 ranks, 1 core each: per rank intra-op 1" in program.output
        assert "2, 2 on this host" in program.output
