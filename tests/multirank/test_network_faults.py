"""Faults of the network between hosts, in training: it goes on, or ends soon and names the host."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import pytest

from hvd_imgcls.run_directory.paths import RunDir
from tests.support.hosts import Hosts, horovodrun, needs_hosts
from tests.support.program import PIPELINE

pytestmark = [needs_hosts, pytest.mark.slow, pytest.mark.timeout(400)]

GROUP = "E: network"
ENVIRONMENT = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "15",
}
# The launcher is on h3, which runs no rank: the host of rank 0 is like the other.
RANKS = ("-np", "2", "-H", "h1:1,h2:1")
LONG, SHORT = 400, 3


@pytest.fixture(scope="module")
def hosts():
    with Hosts(3) as hosts:
        yield hosts


def training(hosts, directory, *options, epochs=LONG, launcher=3, place=RANKS):
    words = [sys.executable, "-m", "hvd_imgcls", "train", PIPELINE]
    words += [f"--train.num_epochs={epochs}", "--run_dir=run", *options]
    words += ["--logging={tensorboard: false, report: false}", "--checkpoint.every_steps=20"]
    return hosts.program(launcher, horovodrun(*place, *words), directory, ENVIRONMENT)


def is_finished(directory):
    return RunDir(directory / "run").summary.is_file()


@contextlib.contextmanager
def blackhole(hosts, index):
    """What the host sends to the other rank's host does not arrive; the other way works."""
    other = {1: 2, 2: 1}[index]
    route = ["blackhole", f"10.77.0.{other}/32"]
    hosts.run(index, ["ip", "route", "add", *route])
    try:
        yield
    finally:
        hosts.run(index, ["ip", "route", "del", *route])


@contextlib.contextmanager
def slow(hosts, index):
    """1 Mbit/s."""
    limit = ["tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms"]
    hosts.run(index, ["tc", "qdisc", "add", "dev", "eth0", "root", *limit])
    try:
        yield
    finally:
        hosts.run(index, ["tc", "qdisc", "del", "dev", "eth0", "root"])


@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("victim", [1, 2])
def test_a_cable_that_is_pulled_ends_the_run_which_can_be_continued(hosts, tmp_path, victim):
    with training(hosts, tmp_path) as program:
        program.wait_for_output("  step ", 100, count=30)
        hosts.link(victim, "down")
        try:
            began = time.monotonic()
            assert program.wait(60) == 5, program.output
            assert time.monotonic() - began < 45
            assert f"h{victim} cannot be reached any more" in program.output, program.output
        finally:
            hosts.link(victim, "up")
        assert not program.left(90)
    if victim == 2:
        with training(hosts, tmp_path, epochs=LONG + 1) as program:
            program.wait_for_output("continuing run after step ", 100)
            os.kill(program.launcher().pid, signal.SIGTERM)
            assert program.wait(60) == 75, program.output


@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("victim", [1, 2])
def test_a_way_that_swallows_everything_ends_the_run(hosts, tmp_path, victim):
    with training(hosts, tmp_path) as program:
        program.wait_for_output("  step ", 100, count=10)
        with blackhole(hosts, victim):
            began = time.monotonic()
            assert program.wait(90) != 0, program.output
            assert time.monotonic() - began < 75
            assert "horovodrun: " in program.output
            assert "Traceback" not in program.output, program.output
        assert not program.left(90)


@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("victim", [1, 2])
def test_a_slow_network_only_takes_longer(hosts, tmp_path, victim):
    # 5 steps an epoch, of some seconds each.
    options = ("--train.global_batch_size=256", "--evaluation.every_epochs=1")
    with slow(hosts, victim), training(hosts, tmp_path, *options, epochs=SHORT) as program:
        assert program.wait(300) == 0, program.output
    assert is_finished(tmp_path)


@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("victim", [1, 2])
def test_a_short_break_only_takes_longer(hosts, tmp_path, victim):
    with training(hosts, tmp_path, epochs=60) as program:
        program.wait_for_output("  step ", 100, count=10)
        hosts.link(victim, "down")
        time.sleep(5)
        hosts.link(victim, "up")
        assert program.wait(200) == 0, program.output
    assert is_finished(tmp_path)


@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("moment", ["start", "training"])
def test_without_its_launcher_and_rendezvous_server_no_rank_goes_on(hosts, tmp_path, moment):
    with training(hosts, tmp_path) as program:
        if moment == "training":
            program.wait_for_output("  step ", 100, count=10)
        else:
            time.sleep(2)
        os.kill(program.launcher().pid, signal.SIGKILL)
        program.wait(20)
        assert not program.left(40)


@pytest.mark.matrix(GROUP, cases=2)
def test_two_jobs_on_the_same_hosts_disturb_neither(hosts, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with (
        training(hosts, folders[0], epochs=SHORT) as first,
        training(hosts, folders[1], epochs=SHORT) as second,
    ):
        assert first.wait(200) == 0, first.output
        assert second.wait(200) == 0, second.output
    assert all(is_finished(folder) for folder in folders)


@pytest.mark.matrix(GROUP)
def test_an_interface_that_does_not_exist_is_named(hosts, tmp_path):
    place = (*RANKS, "--network-interface", "wlan7")
    with training(hosts, tmp_path, place=place) as program:
        assert program.wait(30) == 2, program.output
        assert "wlan7" in program.output
        assert "eth0, lo" in program.output
        assert "Traceback" not in program.output


@pytest.mark.matrix(GROUP)
def test_the_named_interface_carries_the_tensors(hosts, tmp_path):
    """Each host has a second network, of another name, which the run must use."""
    pairs = [("h1", 1, "10.78.0.1"), ("h2", 2, "10.78.0.2")]
    for _, index, address in pairs:
        hosts.run(index, ["ip", "link", "add", "link", "eth0", "name", "wan0", "type", "macvlan"])
        hosts.run(index, ["ip", "addr", "add", f"{address}/24", "dev", "wan0"])
        hosts.run(index, ["ip", "link", "set", "wan0", "up"])
    try:
        place = (*RANKS, "--network-interface", "wan0")
        before = [sent_bytes(hosts, index, "wan0") for _, index, _ in pairs]
        with training(hosts, tmp_path, place=place, epochs=SHORT, launcher=1) as program:
            assert program.wait(200) == 0, program.output
        after = [sent_bytes(hosts, index, "wan0") for _, index, _ in pairs]
        # The gradients of one epoch alone are more.
        assert all(new - old > 1e6 for old, new in zip(before, after, strict=True)), (before, after)
    finally:
        for _, index, _ in pairs:
            hosts.run(index, ["ip", "link", "del", "wan0"])


def sent_bytes(hosts, index, interface):
    line = hosts.run(index, ["grep", f"{interface}:", "/proc/self/net/dev"]).stdout
    return int(line.split(":")[1].split()[8])


@pytest.mark.matrix(GROUP)
def test_a_name_that_does_not_resolve_is_said_before_anything_starts(hosts, tmp_path):
    with training(hosts, tmp_path, place=("-np", "2", "-H", "h1:1,nowhere:1")) as program:
        assert program.wait(20) == 2, program.output
        assert "nowhere: " in program.output
    assert not (tmp_path / "run").exists()


@pytest.mark.matrix(GROUP)
def test_without_ssh_on_a_host_it_is_named(hosts, tmp_path):
    # Its sshd listens on another address.
    hosts.run(2, ["ip", "addr", "add", "10.77.0.22/24", "dev", "eth0"])
    place = ("-np", "2", "-H", "h1:1,10.77.0.22:1")
    try:
        with training(hosts, tmp_path, place=place) as program:
            assert program.wait(20) == 2, program.output
            assert "10.77.0.22: " in program.output
            assert "Connection refused" in program.output
    finally:
        hosts.run(2, ["ip", "addr", "del", "10.77.0.22/24", "dev", "eth0"])


@pytest.mark.matrix(GROUP)
def test_a_host_with_another_key_is_named(hosts, tmp_path):
    with hosts.other_key(2), training(hosts, tmp_path) as program:
        assert program.wait(20) == 2, program.output
        assert "h2: Host key verification failed" in program.output
