"""A process that makes no progress is ended by a thread, with what it was doing."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, signal, sys, threading, time
from pathlib import Path
from hvd_imgcls.watchdog import Watchdog
def end(error):
    print(error, flush=True)
    os._exit(6)
dog = Watchdog("rank-0", ["rank-0", "rank-1"], where=lambda: "step 7",
               details=lambda: "images of the batch:\\na.jpg", end=end)
directory = Path(sys.argv[1])
dog.write_to(directory)
"""


def program_of(body, path):
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(body), str(path / "hang")]


def run(body, path):
    done = subprocess.run(
        program_of(body, path), capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_what_hangs_is_ended_and_its_stacks_are_written(tmp_path):
    body = """
        def waiting_for_something():
            time.sleep(50)
        with dog.watching():
            dog.expect("waiting for the next batch", 0.5)
            waiting_for_something()
        """
    code, said = run(body, tmp_path)
    assert code == 6
    assert said.startswith("no progress for 0.5 s while waiting for the next batch [step 7]; ")
    assert said.endswith("except for rank-1, which may be frozen or have another disk\n")
    written = (tmp_path / "hang" / "rank-0.txt").read_text()
    assert "images of the batch:\na.jpg" in written
    assert "in waiting_for_something" in written


def test_progress_and_no_limit_end_nothing(tmp_path):
    body = """
        with dog.watching():
            for _ in range(8):
                dog.expect("computing", 1.0)
                time.sleep(0.3)
            dog.expect("anything", None)
            time.sleep(1.5)
            # A quarter more for what may wait for others.
            dog.expect("reducing", 1.6, is_waiting=lambda: True)
            time.sleep(1.8)
        print(directory.exists(), flush=True)
        """
    assert run(body, tmp_path) == (0, "False\n")


def test_a_process_writes_what_it_does_when_another_one_hangs(tmp_path):
    body = """
        with dog.watching():
            dog.expect("computing", 50.0)
            directory.mkdir()
            time.sleep(2)
        """
    assert run(body, tmp_path) == (0, "")
    assert "another rank" in (tmp_path / "hang" / "rank-0.txt").read_text()


@pytest.mark.slow
def test_time_in_which_the_process_is_stopped_does_not_count(tmp_path):
    body = """
        with dog.watching():
            dog.expect("computing", 3.0)
            print("begun", flush=True)
            time.sleep(7.5)
            dog.expect("computing", 3.0)
            time.sleep(1)
        """
    with subprocess.Popen(program_of(body, tmp_path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(7)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(20) == 0
