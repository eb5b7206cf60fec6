"""How our patched horovodrun ends when a rank fails. Ranks are shell scripts: no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.target import inspect_target

HOROVODRUN = "from horovod.runner.launch import run_commandline; run_commandline()"

pytestmark = pytest.mark.skipif(
    inspect_target(sys.executable).distributions["horovod"] != VERSION,
    reason="our Horovod is not installed",
)


def horovodrun(script: str) -> tuple[int, str, float]:
    """Runs a shell script on two ranks; returns exit code, standard error and seconds."""
    command = [sys.executable, "-c", HOROVODRUN, "-np", "2", "-H", "localhost:2"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr, time.monotonic() - start


@pytest.mark.parametrize(
    ("script", "exit_code", "line"),
    [
        (
            "[ $HOROVOD_RANK = 1 ] && exit 3; sleep 50",
            3,
            "rank 1 on localhost ended first, with exit code 3; the job was stopped",
        ),
        (
            "[ $HOROVOD_RANK = 0 ] && kill -9 $$; sleep 50",
            137,
            "rank 0 on localhost ended first, by SIGKILL (exit code 137); the job was stopped",
        ),
        # Rank 0 notices first, rank 1 is the cause and gets the time to say why.
        (
            "[ $HOROVOD_RANK = 0 ] && exit 5; sleep 1; exit 4",
            4,
            "rank 1 on localhost ended first, with exit code 4; the job was stopped",
        ),
        # Nobody ever says why: the one that noticed is named, not the one that was stopped.
        (
            "[ $HOROVOD_RANK = 0 ] && exit 5; sleep 50",
            5,
            "rank 0 on localhost ended first, with exit code 5; the job was stopped",
        ),
    ],
)
def test_the_rank_that_failed_is_named_in_one_line(script: str, exit_code: int, line: str) -> None:
    code, stderr, seconds = horovodrun(script)
    assert code == exit_code
    own_lines = [entry for entry in stderr.splitlines() if entry.startswith("horovodrun: ")]
    assert own_lines == [f"horovodrun: {line}"]
    assert "Traceback" not in stderr
    assert seconds < 15


def test_an_error_far_above_is_repeated_in_the_last_line() -> None:
    script = (
        "[ $HOROVOD_RANK = 0 ] && { trap 'i=0; while [ $i -lt 30 ]; do echo noise >&2; "
        "i=$((i + 1)); done; exit 5' TERM; sleep 50 & wait; }; "
        "sleep 1; echo 'error: a.jpg: damaged' >&2; exit 3"
    )
    code, stderr, _ = horovodrun(script)
    assert code == 3
    assert stderr.splitlines()[-1] == (
        "horovodrun: rank 1 on localhost ended first, with exit code 3; the job was stopped: "
        "a.jpg: damaged"
    )
    # A short output has it once.
    _, stderr, _ = horovodrun("echo 'error: a.jpg: damaged' >&2; exit 3")
    assert stderr.splitlines()[-1].endswith("; the job was stopped")


def test_children_of_a_killed_rank_are_gone_and_do_not_hold_the_launcher(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! >> {pids}; sleep 1; [ $HOROVOD_RANK = 1 ] && kill -9 $$; wait"
    code, _, seconds = horovodrun(script)
    assert code == 137
    assert seconds < 15
    started = map(int, pids.read_text().split())
    left = [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)]
    # A killed orphan is still listed until init has taken note of it.
    _, alive = psutil.wait_procs(left, timeout=2)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_success_is_silent() -> None:
    code, stderr, _ = horovodrun("exit 0")
    assert (code, stderr) == (0, "")


def test_without_an_option_ranks_talk_over_gloo_also_where_mpi_is_built():
    exit_code, errors, _ = horovodrun('[ "$HOROVOD_CONTROLLER" = gloo ]')
    assert exit_code == 0, errors
