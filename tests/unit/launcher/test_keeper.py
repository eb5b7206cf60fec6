"""The process that keeps a rank: it obeys, and it ends when nobody is there to obey."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from hvd_imgcls.launcher import keeper
from hvd_imgcls.launcher.ssh import keeper_words


class Kept:
    """A keeper with a shell script as its rank."""

    def __init__(self, script, directory, silence=None, given=None):
        self.process = subprocess.Popen(
            keeper_words(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.say(
            {
                "command": ["/bin/sh", "-c", script],
                "directory": str(directory),
                "environment": {"GREETING": "hello"},
                "silence": silence,
                "input": given,
            }
        )

    def say(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, path, seconds=10):
        deadline = time.monotonic() + seconds
        while not path.exists() or not path.read_text().endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return path.read_text().split()

    def wait(self, seconds):
        stdin, self.process.stdin = self.process.stdin, None  # not closed by communicate()
        output, errors = self.process.communicate(timeout=seconds)
        stdin.close()
        return self.process.returncode, output.decode(), errors.decode()


def is_gone(pid, seconds=3):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def command_lines():
    lines = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return lines


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 255", 254)]
)
def test_the_exit_code_is_that_of_the_rank_but_never_that_of_ssh(tmp_path, script, code):
    assert Kept(script, tmp_path).wait(10)[0] == code


def test_environment_directory_and_input_arrive(tmp_path):
    kept = Kept('echo "$GREETING $(pwd) $(cat)"', tmp_path, given="x" * 200_000)
    code, output, _ = kept.wait(10)
    assert (code, output.split()[:2]) == (0, ["hello", str(tmp_path)])
    assert len(output.split()[2]) == 200_000


@pytest.mark.parametrize("name", ["INT", "HUP", "TERM", "USR1"])
def test_the_rank_can_handle_every_signal(tmp_path, name):
    assert Kept(f"trap 'exit 9' {name}; kill -{name} $$; exit 1", tmp_path).wait(10)[0] == 9


def test_signals_of_a_terminal_end_the_rank_only_through_the_launcher(tmp_path):
    kept = Kept(f"echo $$ > {tmp_path}/pid; sleep 0.5; exit 4", tmp_path)
    kept.wait_for(tmp_path / "pid")
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(kept.process.pid, number)
    assert kept.wait(10)[0] == 4


def test_nothing_of_the_task_is_on_a_command_line(tmp_path):
    kept = Kept(f"echo $$ > {tmp_path}/pid; sleep 60", tmp_path, given="confidential")
    kept.wait_for(tmp_path / "pid")
    lines = command_lines()
    assert any("keeper.py" in line for line in lines)
    assert not [line for line in lines if "hello" in line or "confidential" in line]
    kept.say({"end": 0})
    assert kept.wait(5)[0] == 137


def test_the_rank_is_asked_first_and_killed_later(tmp_path):
    kept = Kept(f"trap 'exit 75' TERM; echo $$ > {tmp_path}/pid; sleep 60 & wait", tmp_path)
    kept.wait_for(tmp_path / "pid")
    kept.say({"end": 30})
    assert kept.wait(10)[0] == 75

    stubborn = Kept(f"trap '' TERM; echo $$ > {tmp_path}/pid2; sleep 60 & wait; wait", tmp_path)
    stubborn.wait_for(tmp_path / "pid2")
    stubborn.say({"end": 60})
    time.sleep(0.3)
    assert stubborn.process.poll() is None
    stubborn.say({"end": 0.5})  # a later order can only be stricter
    assert stubborn.wait(10)[0] == 137


def test_without_a_launcher_the_rank_ends(tmp_path):
    kept = Kept(f"echo $$ > {tmp_path}/pid; sleep 60", tmp_path)
    (pid,) = kept.wait_for(tmp_path / "pid")
    kept.process.stdin.close()
    assert kept.wait(10)[0] == 143
    assert is_gone(int(pid))


def test_silence_ends_the_rank_and_signs_of_life_keep_it(tmp_path):
    kept = Kept(f"echo $$ > {tmp_path}/pid; sleep 60", tmp_path, silence=1.0)
    kept.wait_for(tmp_path / "pid")
    for _ in range(10):
        time.sleep(0.2)
        kept.say({})
    assert kept.process.poll() is None
    assert kept.wait(10)[0] == 143


def test_what_a_failed_rank_started_is_killed(tmp_path):
    kept = Kept(f"sleep 300 & echo $! > {tmp_path}/pid; exit 3", tmp_path)
    assert kept.wait(10)[0] == 3
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_rank_does_not_outlive_its_keeper(tmp_path):
    kept = Kept(f"echo $$ > {tmp_path}/pid; exec sleep 300", tmp_path)
    (pid,) = kept.wait_for(tmp_path / "pid")
    os.kill(kept.process.pid, signal.SIGKILL)
    kept.wait(5)
    assert is_gone(int(pid))


def test_a_missing_directory_or_command_is_named_with_the_host(tmp_path):
    code, _, errors = Kept("exit 0", tmp_path / "absent").wait(10)
    assert code == keeper.NOT_STARTED
    assert (
        errors == f"error: {tmp_path}/absent: No such file or directory, on {os.uname().nodename}\n"
    )
