"""What others on the machine and in the network see of a run: sockets, command lines, files."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest

from tests.support.hosts import horovodrun
from tests.support.program import PIPELINE, hvd_imgcls, running
from tests.support.survival import ENVIRONMENT

pytestmark = [pytest.mark.ranks(2), pytest.mark.timeout(200)]

PLANTED = "planted-value-9f3c"
LAUNCHES = [
    pytest.param(["-np", "2"], id="static"),
    pytest.param(["--min-np", "2", "--max-np", "2"], id="elastic", marks=pytest.mark.slow),
]


def listening(process):
    with contextlib.suppress(psutil.Error):
        return [
            entry.laddr.ip
            for entry in process.net_connections("inet")
            if entry.status == psutil.CONN_LISTEN
        ]
    return []


def command_lines():
    lines = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            lines.append("\0".join(process.cmdline()))
    return lines


@pytest.mark.matrix("5.6: security of a launch", cases=6)
@pytest.mark.parametrize("options", LAUNCHES)
def test_a_run_listens_on_loopback_only_and_shows_no_variable(options, tmp_path):
    words = horovodrun(*options, "-H", "localhost:2", *hvd_imgcls("train", PIPELINE))
    words += ["--train.num_epochs=500", "--checkpoint.every_steps=20", "--run_dir=run"]
    environment = {**ENVIRONMENT, "AWS_SECRET_ACCESS_KEY": PLANTED, "MY_TOKEN": PLANTED}
    with running(words, size=1, cwd=tmp_path, environment=environment) as program:
        program.wait_for_output("  step ", 100, count=8)
        processes = program.processes()
        assert len(processes) >= 5  # the launcher, and a keeper and a rank, twice
        addresses = {ip for process in processes for ip in listening(process)}
        assert addresses == {"127.0.0.1"}
        lines = command_lines()
        assert any("keeper.py" in line for line in lines)
        shown = [line for line in lines if PLANTED in line or "HOROVOD_RENDEZVOUS_SECRET" in line]
        assert not shown
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.wait(60) == 75, program.output
        assert PLANTED not in program.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if PLANTED.encode() in path.read_bytes()]
