"""Several hosts over ssh, as namespaces: what arrives there, and what happens if one is lost.

The ranks are shell scripts where that is enough.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import psutil
import pytest

from tests.support.hosts import Hosts, horovodrun, needs_hosts
from tests.support.program import TAG

pytestmark = [needs_hosts, pytest.mark.timeout(300)]

SECRET = "planted-4711"
THREE = ("-np", "3", "-H", "h1:1,h2:1,h3:1")


@pytest.fixture(scope="module")
def hosts():
    with Hosts(3) as hosts:
        yield hosts


def command_lines():
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines


def test_what_arrives_on_other_hosts_and_how(hosts, tmp_path):
    script = (
        'echo "$(hostname) rank $HOROVOD_RANK of $HOROVOD_SIZE: $PYTHONPATH $NAMED '
        '<$AWS_SECRET_ACCESS_KEY> $PWD"; touch there-$HOROVOD_RANK; '
        "while [ ! -e go ]; do sleep 0.1; done"
    )
    environment = {"AWS_SECRET_ACCESS_KEY": SECRET, "NAMED": "named", "PYTHONPATH": "/code"}
    words = horovodrun(*THREE, "--pass-env", "NAMED", "/bin/sh", "-c", script)
    with hosts.program(1, words, tmp_path, environment) as program:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("there-*"))) < 3:
            assert time.monotonic() < deadline, program.output
            time.sleep(0.1)
        lines = command_lines()
        listening = hosts.run(1, ["ss", "-Hltn"]).stdout.split("\n")
        (tmp_path / "go").touch()
        assert program.wait(20) == 0, program.output
        secret_of_job = [line for line in lines if "HOROVOD_RENDEZVOUS_SECRET" in line]
        assert not [line for line in lines if SECRET in line or "NAMED=" in line]
        assert not secret_of_job
        assert any("ssh" in line and "keeper.py" in line for line in lines), lines
        ports = [
            line.split()[3] for line in listening if line and not line.split()[3].endswith(":22")
        ]
        assert [port.rpartition(":")[0] for port in ports] == ["10.77.0.1"], listening
        for rank in (1, 2):
            assert f"h{rank + 1} rank {rank} of 3: /code named <> {tmp_path}" in program.output
        # On the launcher's own host, ranks inherit.
        assert f"h1 rank 0 of 3: /code named <{SECRET}> {tmp_path}" in program.output


def test_what_is_wrong_is_said_before_anything_starts(hosts, tmp_path):
    for where, expected in [
        ("h1:1,absent:1", "absent: "),
        ("h1:1,nowhere:1", "nowhere: "),
        ("h1:1,h2:1", "-np: got 3, expected at most 2"),
        ("h1:1,h2;reboot:2", "expected a host name"),
    ]:
        began = time.monotonic()
        words = horovodrun("-np", "3" if "got 3" in expected else "2", "-H", where, "touch", "ran")
        with hosts.program(1, words, tmp_path, {}) as program:
            assert program.wait(30) == 2, program.output
            assert time.monotonic() - began < 15
            assert expected in program.output, program.output
            assert "Traceback" not in program.output, program.output
    assert not (tmp_path / "ran").exists()


def test_a_key_that_changed_is_named(hosts, tmp_path):
    words = horovodrun("-np", "2", "-H", "h1:1,h2:1", "true")
    with hosts.other_key(2), hosts.program(1, words, tmp_path, {}) as program:
        assert program.wait(30) == 2, program.output
        assert "h2: Host key verification failed" in program.output


def test_a_directory_that_is_missing_on_another_host_is_named(hosts, tmp_path):
    hidden = tmp_path / "only-here"
    hidden.mkdir()
    hosts.run(2, ["mount", "-t", "tmpfs", "none", str(tmp_path)])
    try:
        words = horovodrun("-np", "2", "-H", "h1:1,h2:1", "sleep", "30")
        with hosts.program(1, words, hidden, {}) as program:
            assert program.wait(20) == 126, program.output
            assert f"{hidden}: No such file or directory, on h2" in program.output
    finally:
        hosts.run(2, ["umount", str(tmp_path)])


def started(hosts, tmp_path, script="echo started; exec sleep 300"):
    words = horovodrun(*THREE, "/bin/sh", "-c", script)
    return hosts.program(1, words, tmp_path, {TAG: hosts.tag})


def test_a_host_that_crashes_is_named_and_nothing_is_left(hosts, tmp_path):
    with started(hosts, tmp_path) as program:
        program.wait_for_output("started", 30, count=3)
        hosts.crash(3)
        try:
            began = time.monotonic()
            assert program.wait(20) == 5, program.output
            assert time.monotonic() - began < 10
            assert "h3 cannot be reached any more" in program.output, program.output
            assert not program.left(5)
        finally:
            hosts.start(3)


@pytest.mark.slow
def test_a_cable_that_is_pulled_ends_the_job_and_names_the_host(hosts, tmp_path):
    with started(hosts, tmp_path) as program:
        program.wait_for_output("started", 30, count=3)
        hosts.link(3, "down")
        try:
            assert program.wait(40) == 5, program.output
            assert "h3 cannot be reached any more" in program.output, program.output
        finally:
            hosts.link(3, "up")
        # The rank on h3 ends by itself: it hears nothing any more.
        assert not program.left(90)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGINT)),
    ],
)
def test_no_rank_on_any_host_outlives_the_launcher(hosts, tmp_path, number):
    with started(hosts, tmp_path) as program:
        program.wait_for_output("started", 30, count=3)
        os.kill(program.launcher().pid, number)
        exit_code = program.wait(15)
        assert exit_code in (-number, 128 + number), program.output
        assert not program.left(15)


def test_the_doctor_looks_at_all_hosts(hosts, tmp_path):
    words = [sys.executable, "-m", "hvd_imgcls", "doctor", "-H"]
    with hosts.program(1, [*words, "h1:1,h2:1,h3:64,absent:1"], tmp_path, {}) as program:
        assert program.wait(60) == 2, program.output
        assert "FAIL     absent, ssh: " in program.output
        assert "warning  h3, cores: " in program.output
        assert "h2 to h3: round trip " in program.output
        assert "eth0 10.77.0.2" in program.output
    (tmp_path / "other").mkdir()
    hosts.run(2, ["mount", "-t", "tmpfs", "none", str(tmp_path / "other")])
    try:
        with hosts.program(1, [*words, "h1:1,h2:1", "--json"], tmp_path / "other", {}) as program:
            assert program.wait(60) == 0, program.output
            checks = json.loads(program.output[program.output.index("{") :])["checks"]
            assert [one["name"] for one in checks] == ["h2, directory", "h1 to h2"]
    finally:
        hosts.run(2, ["umount", str(tmp_path / "other")])
