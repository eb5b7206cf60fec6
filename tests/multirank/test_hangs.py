"""Ranks that make no progress: the run ends in time, names them, and continues; slow ones survive.

One run meets a fault at all its moments, one after the other, and is then continued to its end.
"""

import json
import shutil
import signal
import time

import pytest

from tests.support.protections import WITHOUT
from tests.support.survival import (
    ended,
    result_of,
    run_to_the_end,
    run_with_fault,
    running_with_fault,
    twin,
)
from tests.support.trainings import TRAININGS

GROUP = "D: hangs"
PLAIN = TRAININGS["plain"](None).options
COMPILATION, STEP, CHECKPOINT = 40, 6, 4
OPTIONS = (
    *PLAIN,
    f"--watchdog={{start_seconds: 60, compilation_seconds: {COMPILATION}, step_seconds: {STEP}, "
    f"evaluation_seconds: {STEP}, checkpoint_seconds: {CHECKPOINT}, export_seconds: 20}}",
)
# The moment, its step, or the how manieth time, and the rank. Reading is some batches ahead.
MOMENTS = {
    "stop": [
        ("before_broadcast", 1, 1),
        ("before_step", 15, 1),
        ("early_in_step", 24, 1),
        ("checkpoint_write", 8, 0),
        ("evaluation", 1, 1),
    ],
    "loop": [
        ("before_broadcast", 1, 1),
        ("before_step", 15, 0),
        ("after_step", 24, 1),
        ("checkpoint_write", 8, 0),
        ("evaluation", 1, 1),
    ],
    "stuck": [
        ("read", 1, 1),
        ("read", 15, 0),
        ("read", 15, 1),
        ("checkpoint_write", 8, 0),
        ("read_held_out", 1, 1),
    ],
}
# In the file of the rank that is the reason.
STACKS = {"loop": "_loop", "stuck": "_read_what_never_comes"}
# Ranks that wait are given a quarter more; then 3 s for the others, and 5 s to clean up.
MOST_SECONDS = 1.25 * max(STEP, CHECKPOINT) + 3 + 5 + 5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP, cases=5)
@pytest.mark.parametrize("action", MOMENTS)
def test_a_rank_without_progress_is_named_and_the_run_continues(action, tmp_path):
    for moment, step, rank in MOMENTS[action]:
        fault = f"{action}@{moment}:rank={rank}:step={step}"
        outcome = run_with_fault(tmp_path, fault, size=2, options=OPTIONS)
        assert outcome.exit_code == 6, outcome.output
        is_first = moment in ("before_broadcast", "read") and step == 1
        assert outcome.seconds < MOST_SECONDS + is_first * COMPILATION, outcome.output
        said = f"rank {rank} on localhost ended first, with exit code 6"
        if action == "stop":
            said = f"rank {rank} on localhost did not respond and was killed"
        assert said in outcome.output, outcome.output
        assert "Traceback" not in outcome.output, outcome.output
        # A connection to a frozen rank ends after 30 s, before the limit of the first step.
        if not (action == "stop" and is_first):
            require_stacks(tmp_path / "run" / "hang", action, rank)
    outcome = run_to_the_end(tmp_path, size=2, options=OPTIONS)
    assert result_of(tmp_path, outcome) == twin(2, PLAIN)


def require_stacks(directory, action, rank):
    """Requires what the threads of both ranks were doing; a frozen one cannot say it."""
    texts = {path.name: path.read_text() for path in directory.iterdir()}
    others = {f"rank-{one}.txt" for one in range(2) if action != "stop" or one != rank}
    assert set(texts) == others
    assert all("most recent call first" in text for text in texts.values()), texts
    if action in STACKS:
        assert STACKS[action] in texts[f"rank-{rank}.txt"], texts
        assert "no progress for" in texts[f"rank-{rank}.txt"].partition("\n")[0], texts
    shutil.rmtree(directory)


SURVIVING = {
    # 10 times slower than the other.
    "slow": ("slow@before_step:rank=1:step=2", ()),
    # 4 s.
    "pause": ("pause@before_step:rank=1:step=20", ()),
    # The other rank waits for longer than its limit for a step: it waits for the disk.
    "slow disk": (
        "pause@checkpoint_write:rank=0:step=8",
        ("--watchdog={step_seconds: 2, checkpoint_seconds: 30}",),
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("name", SURVIVING)
def test_what_is_only_slow_survives(name, tmp_path):
    fault, options = SURVIVING[name]
    options = (*OPTIONS, *options)
    outcome = run_with_fault(tmp_path, fault, size=2, options=options)
    assert outcome.exit_code == 0, outcome.output
    assert not (tmp_path / "run" / "hang").exists()
    assert result_of(tmp_path, outcome) == twin(2, PLAIN)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
def test_a_rank_that_is_frozen_for_three_seconds_survives(tmp_path):
    fault = "stop@before_step:rank=1:step=20"
    with running_with_fault(tmp_path, fault, size=2, options=OPTIONS) as program:
        program.wait_for_output("FAULT ", 100)
        time.sleep(3)
        program.rank_processes()[1].send_signal(signal.SIGCONT)
        outcome = ended(program)
    assert outcome.exit_code == 0, outcome.output
    assert result_of(tmp_path, outcome) == twin(2, PLAIN)


@pytest.mark.slow
@pytest.mark.matrix("negative controls")
def test_without_the_watchdog_the_hang_is_noticed(tmp_path):
    fault = "loop@before_step:rank=0:step=15"
    with running_with_fault(
        tmp_path, fault, size=1, options=OPTIONS, environment={WITHOUT: "watchdog"}
    ) as program:
        program.wait_for_output("FAULT ", 100)
        with pytest.raises(AssertionError, match="no end within"):
            ended(program, within=MOST_SECONDS)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "running"


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.matrix("negative controls")
def test_if_the_root_waits_for_its_disk_alone_the_other_rank_ends_the_run(tmp_path):
    fault, options = SURVIVING["slow disk"]
    outcome = run_with_fault(
        tmp_path,
        fault,
        size=2,
        # So long that it is not complete before the watchdog, which has decided, ends it.
        options=(*OPTIONS, *options, "--train.num_epochs=100"),
        environment={WITHOUT: "waiting_together"},
    )
    assert outcome.exit_code == 6, outcome.output
    assert "rank 1 on localhost ended first, with exit code 6" in outcome.output, outcome.output
