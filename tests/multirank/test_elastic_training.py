"""Elastic runs of `hvd-imgcls train`, whose ranks fail or whose hosts change at every moment.

One job meets all faults of a kind, one in each of its launches.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from tests.support.fault_injection import POLL_ALWAYS, VARIABLE
from tests.support.hosts import Hosts, horovodrun, needs_hosts
from tests.support.program import PIPELINE, running
from tests.support.survival import ENVIRONMENT, Outcome, ended, result_of, twin
from tests.support.trainings import TRAININGS

pytestmark = [pytest.mark.ranks(2), pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS = TRAININGS["plain"](None).options
GROUP = "B: elastic"
# Moments in the order in which a run of 88 steps passes them, with the step or how often.
MOMENTS = {
    "import": 1,
    "rendezvous": 1,
    "model": 1,
    "before_broadcast": 1,
    "before_step": 12,
    "early_in_step": 25,
    "late_in_step": 35,
    "after_step": 45,
    "evaluation": 1,
    "final_evaluation": 1,
    "model_file": 1,
    "report": 1,
    "done": 1,
}
OF_THE_WRITER = {"checkpoint_write": 5, "before_rename": 3, "after_rename": 3, "retention": 2}


def train_words():
    return [sys.executable, "-m", "tests.support.fault_injection", "train", PIPELINE, *OPTIONS]


def elastic(directory, faults, options=("-H", "localhost:2"), more=()):
    words = horovodrun("--min-np", "2", "--max-np", "2", "--restarts", "100", *options)
    environment = {**ENVIRONMENT, POLL_ALWAYS: "1", VARIABLE: ";".join(faults)}
    words += [*train_words(), *more, "--run_dir=run"]
    return running(words, size=1, cwd=directory, environment=environment)


@pytest.mark.matrix(GROUP, cases=13)
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("action", ["kill", "raise"])
def test_a_rank_that_fails_at_every_moment(action, rank, tmp_path):
    moments = {**MOMENTS, **OF_THE_WRITER} if rank == 0 else MOMENTS
    # Only the root does these; those of the writer take their places.
    names = [name for name in moments if rank == 0 or name not in ("model_file", "report")]
    faults = [f"{action}@{name}:rank={rank}:step={moments[name]}" for name in names]
    with elastic(tmp_path, faults) as program:
        outcome = ended(program, within=600)
    assert outcome.exit_code == 0, outcome.output
    met = outcome.output.count("FAULT ")
    assert met >= 11, outcome.output
    assert outcome.output.count("; starting again in") >= met - 1, outcome.output
    assert "Traceback" not in outcome.output or action == "raise"
    if "is finished" in outcome.output:
        # Killed after all was done: the result was printed by an earlier launch.
        outcome = Outcome(0, 0.0, outcome.output)
    assert result_of(tmp_path, outcome) == twin(2, OPTIONS)


@pytest.mark.matrix(GROUP, cases=10)
def test_slots_come_and_go_at_every_moment(tmp_path):
    number, script = tmp_path / "number", tmp_path / "hosts.sh"
    number.write_text("localhost:1\n")
    script.write_text(f"#!/bin/sh\ncat {number}\n")
    script.chmod(0o755)
    # Every launch pauses for 4 s at a moment, in which the hosts change.
    moments = ["model", "before_broadcast", "checkpoint_write", "before_rename", "evaluation"]
    faults = [f"pause@{moment}:rank=0:step=1" for moment in moments for _ in range(2)]
    options = ("--host-discovery-script", str(script), "--min-np", "1")
    more = ("--train.num_epochs=4000", "--evaluation.every_epochs=10")
    with elastic(tmp_path, faults, options, more=more) as program:
        for launch in range(len(faults)):
            program.wait_for_output("FAULT ", 100, count=launch + 1)
            number.write_text(f"localhost:{2 - launch % 2}\n")
            program.wait_for_output("; starting again", 60, count=launch + 1)
        program.wait_for_output("continuing run after step ", 60, count=len(faults) - 2)
        time.sleep(5)
        os.kill(program.process.pid, signal.SIGTERM)
        outcome = ended(program, within=100)
    assert outcome.exit_code == 75, outcome.output
    assert "Traceback" not in outcome.output
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert len(epochs) > 10
    assert epochs == list(range(epochs[0], epochs[0] + len(epochs)))


@needs_hosts
@pytest.mark.matrix(GROUP, cases=4)
def test_hosts_crash_are_cut_off_and_come_back_rank_0s_too(tmp_path):
    words = horovodrun(
        *("--min-np", "1", "--max-np", "2", "-H", "h1:1,h2:1"),
        *("--blacklist-cooldown-range", "5", "20"),
        *(sys.executable, "-m", "hvd_imgcls", "train", PIPELINE),
        *("--train.num_epochs=4000", "--run_dir=run", "--checkpoint.every_steps=20"),
        "--logging={tensorboard: false, report: false}",
    )
    with (
        Hosts(3) as hosts,
        hosts.program(3, words, tmp_path, {**ENVIRONMENT, POLL_ALWAYS: "1"}) as program,
    ):
        continued = 0

        def goes_on(size, seconds):
            nonlocal continued
            continued += 1
            began = time.monotonic()
            program.wait_for_output("continuing run after step ", seconds, count=continued)
            line = [one for one in program.output.splitlines() if "continuing run after" in one][-1]
            assert ("[rank 0/2]" in line) == (size == 2), line
            number = program.output.count("  step ")
            program.wait_for_output("  step ", 60, count=number + 3)
            return time.monotonic() - began

        program.wait_for_output("  step ", 100, count=5)
        for victim in (2, 1):
            hosts.crash(victim)
            crashed = goes_on(1, 60)
            hosts.start(victim)
            goes_on(2, 90)
            hosts.link(victim, "down")
            cut = goes_on(1, 120)
            hosts.link(victim, "up")
            goes_on(2, 150)
            sys.stdout.write(f"h{victim}: {crashed:.1f} s after a crash, {cut:.1f} s after a cut\n")
        assert "h1 cannot be reached any more" in program.output
        assert "h2 cannot be reached any more" in program.output
        os.kill(program.launcher().pid, signal.SIGTERM)
        assert program.wait(60) == 75, program.output
        assert not program.left(90)
