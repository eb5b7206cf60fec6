"""Signals to the launcher at four moments of a run: exit code, nothing left, and it goes on.

One run meets the signal at all four moments, one after the other, and is then continued to its end.
"""

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import time
import uuid

import pytest

from tests.support.fault_injection import POLL_ALWAYS, VARIABLE
from tests.support.program import ROOT, TAG, processes_of
from tests.support.protections import WITHOUT
from tests.support.survival import (
    ENVIRONMENT,
    ORPHAN_SECONDS,
    ended,
    result_of,
    run_to_the_end,
    running_with_fault,
    twin,
    words_with_fault,
)
from tests.support.trainings import TRAININGS

OPTIONS = TRAININGS["plain"](None).options
GROUP = "G: signals to the launcher"
# The last rank pauses for 4 s then, except that the root writes checkpoints.
MOMENTS = {
    "start": "pause@rendezvous:rank=1:step=1",
    "train": "pause@before_step:rank=1:step=15",
    "checkpoint": "pause@checkpoint_write:rank=0:step=8",
    "evaluation": "pause@final_evaluation:rank=1:step=1",
}
SIGNALS = {
    "SIGKILL": [signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
    "SIGINT": [signal.SIGINT],
    "SIGINT twice": [signal.SIGINT, signal.SIGINT],
    "SIGHUP": [signal.SIGHUP],
    "SIGUSR1": [signal.SIGUSR1],
}


def expected_exit_code(name, has_checkpoint):
    if name == "SIGKILL":
        return -signal.SIGKILL
    if name == "SIGINT twice":
        return 128 + signal.SIGINT
    return 75 if has_checkpoint else 128 + SIGNALS[name][0]


def signalled(directory, fault, name, size=2, environment=None):
    """Starts or continues the run, signals the launcher at a moment, and says how it ended."""
    environment = {POLL_ALWAYS: "1", **(environment or {})}
    with running_with_fault(
        directory, fault, size=size, options=OPTIONS, environment=environment
    ) as program:
        program.wait_for_output("FAULT ", 100)
        for number in SIGNALS[name]:
            program.process.send_signal(number)
            time.sleep(0.5)
        return ended(program)


def has_checkpoint(directory):
    return any((directory / "run" / "checkpoints").glob("step-*[0-9]"))


def continued(directory, size=2):
    outcome = run_to_the_end(directory, size=size, options=OPTIONS)
    assert result_of(directory, outcome) == twin(size, OPTIONS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP, cases=4)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_to_the_launcher(name, tmp_path):
    for moment, fault in MOMENTS.items():
        outcome = signalled(tmp_path, fault, name)
        is_saved = has_checkpoint(tmp_path)
        assert is_saved == (moment != "start"), outcome.output
        expected = expected_exit_code(name, is_saved)
        assert outcome.exit_code == expected, f"{moment}: {outcome.output}"
        assert "Traceback" not in outcome.output, outcome.output
        assert outcome.seconds < (3 if name == "SIGINT twice" else 15), outcome.output
        if outcome.exit_code == 75:
            how = f"interrupted by {SIGNALS[name][0].name}; it can be continued"
            assert f"horovodrun: {how}" in outcome.output, outcome.output
    continued(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP, cases=4)
@pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid of util-linux is not installed")
def test_the_terminal_is_closed_with_its_shell(tmp_path):
    for fault in MOMENTS.values():
        tag, output = close_terminal_at(tmp_path, fault)
        deadline = time.monotonic() + ORPHAN_SECONDS
        while left := processes_of(tag):
            assert time.monotonic() < deadline, f"left over: {left}\n{output}"
            time.sleep(0.1)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    # The launcher, which receives SIGHUP, stops the ranks by SIGTERM.
    assert status["state"] == "stopped", status
    assert status["message"].startswith("stopped by SIG"), status
    continued(tmp_path)


def close_terminal_at(directory, fault):
    """Runs in a shell in a terminal, and closes that at a moment."""
    terminal, inside = pty.openpty()
    tag = uuid.uuid4().hex
    command = shlex.join(words_with_fault(OPTIONS, size=2))
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "sh", "-c", f"{command}; echo the end"],
        cwd=directory,
        env={
            **os.environ,
            **ENVIRONMENT,
            "PYTHONPATH": str(ROOT),
            TAG: tag,
            VARIABLE: fault,
            POLL_ALWAYS: "1",
        },
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    output = b""
    deadline = time.monotonic() + 100
    while b"FAULT " not in output:
        assert time.monotonic() < deadline, output.decode(errors="replace")
        if select.select([terminal], [], [], 1.0)[0]:
            output += os.read(terminal, 4096)
    os.close(terminal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ORPHAN_SECONDS)
    return tag, output.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.matrix("G: signals to a single process", cases=4)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGINT twice", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_a_single_process(name, tmp_path):
    for moment, fault in {**MOMENTS, "start": "pause@model:rank=0:step=1"}.items():
        outcome = signalled(tmp_path, fault.replace("rank=1", "rank=0"), name, size=1)
        is_saved = has_checkpoint(tmp_path)
        assert is_saved == (moment != "start"), outcome.output
        expected = expected_exit_code(name, is_saved)
        if name == "SIGINT twice" and outcome.exit_code == 75:
            # The first one ended it before the second.
            expected = 75
        assert outcome.exit_code == expected, f"{moment}: {outcome.output}"
        assert "Traceback" not in outcome.output, outcome.output
    continued(tmp_path, size=1)


@pytest.mark.slow
@pytest.mark.matrix("negative controls")
def test_a_run_that_does_not_save_on_signals_is_noticed(tmp_path):
    outcome = signalled(
        tmp_path,
        "pause@before_step:rank=0:step=3",
        "SIGTERM",
        size=1,
        environment={WITHOUT: "saving_on_signals"},
    )
    assert outcome.exit_code == 143, outcome.output
    assert not has_checkpoint(tmp_path)
