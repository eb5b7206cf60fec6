"""`hvd-imgcls launch` over several hosts: a real Slurm whose nodes are namespaces."""

from __future__ import annotations

import shlex
import sys
import time

import pytest

from tests.support.hosts import Hosts, needs_hosts
from tests.support.slurm import Slurm, needs_slurm

pytestmark = [needs_hosts, needs_slurm, pytest.mark.slow, pytest.mark.timeout(600)]

LAUNCH = [sys.executable, "-m", "hvd_imgcls", "launch"]
NODES = {"h1": "10.77.0.1", "h2": "10.77.0.2", "h3": "10.77.0.3"}


@pytest.fixture(scope="module")
def slurm():
    with Hosts(3) as hosts, Slurm(NODES, hosts) as slurm:
        yield slurm


def script(*words):
    return f"exec {shlex.join([*LAUNCH, '/bin/sh', '-c', *words])}"


def test_ranks_find_the_launcher_at_the_address_that_other_nodes_reach(slurm, tmp_path):
    names = "$HOROVOD_HOSTNAME $HOROVOD_RANK $HOROVOD_GLOO_RENDEZVOUS_ADDR"
    job = slurm.submit(script(f'echo "$(hostname) {names}"'), tmp_path, "-N3", "-n4")
    shown = slurm.wait_for_end(job, 120)
    output = (tmp_path / "job.txt").read_text()
    assert shown["JobState"] == "COMPLETED", output
    assert sorted(output.splitlines()) == [
        "[0]<stdout>:h1 h1 0 10.77.0.1",
        "[1]<stdout>:h1 h1 1 10.77.0.1",
        "[2]<stdout>:h2 h2 2 10.77.0.1",
        "[3]<stdout>:h3 h3 3 10.77.0.1",
    ]


def test_a_node_that_crashes_is_named_and_the_others_end(slurm, tmp_path):
    # Ranks that notice it end with 5, as those over Gloo.
    wait = "echo started; while [ ! -e gone ]; do sleep 0.2; done; exit 5"
    job = slurm.submit(script(wait), tmp_path, "-N3", "-n3")
    slurm.wait_for_output("started", tmp_path, 120, count=3)
    slurm.crash("h3")
    (tmp_path / "gone").touch()
    said = "h3 cannot be reached any more, rank 2 ran there; the job was stopped"
    slurm.wait_for_output(said, tmp_path, 150)
    # Slurm itself waits for the node for five minutes.
    deadline = time.monotonic() + 30
    while (shown := slurm.show(job))["ExitCode"] != "5:0":
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)
