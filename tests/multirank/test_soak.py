"""A run that is killed again and again, at random moments, ends as if it never was.

HVD_IMGCLS_SOAK_KILLS=100 HVD_IMGCLS_SOAK_SEED=1 make test-all ARGS=tests/multirank/test_soak.py
"""

import contextlib
import os
import random
import sys
import time

import psutil
import pytest

from tests.support.survival import (
    ended,
    result_of,
    run_to_the_end,
    running_with_fault,
    twin,
)

KILLS = int(os.environ.get("HVD_IMGCLS_SOAK_KILLS", "5"))
SEED = int(os.environ.get("HVD_IMGCLS_SOAK_SEED", "0"))
OPTIONS = (
    f"--train.num_epochs={10 + KILLS}",
    "--train.ema={decay: 0.99}",
    "--evaluation.every_epochs=5",
    "--checkpoint.every_steps=15",
    "--logging={tensorboard: false, report: false}",
)
# What is waited for, and the longest pause after it, in seconds. Half of the launches are killed in
# training, where a step takes some 10 ms.
MOMENTS = {
    "while it started": ("", 10.0),
    "while it compiled": ("the first step is traced", 3.0),
    "in training": ("  step ", 0.5),
}
SHARES = (1, 1, 2)


def victims_of(program, victim):
    """Returns the processes that are killed: of a rank that has not started, the launcher."""
    if victim == "all":
        return program.processes()
    ranks = program.rank_processes()
    number = {"rank 0": 0, "rank 1": 1}.get(victim)
    return [ranks.get(number) or psutil.Process(program.process.pid)]


def say(capsys, text):
    """Prints even if the test passes: the moments are random."""
    with capsys.disabled():
        sys.stdout.write(f"\n{text}")


def kill_once(directory, generator):
    """Starts or continues the run and kills it; returns what was done, None if it ended before."""
    victim = generator.choice(("launcher", "rank 0", "rank 1", "all"))
    when = generator.choices(tuple(MOMENTS), SHARES)[0]
    awaited, longest = MOMENTS[when]
    pause = generator.random() * longest
    with running_with_fault(directory, "", size=2, options=OPTIONS) as program:
        program.wait_for_output(awaited, 100)
        time.sleep(pause)
        if program.process.poll() is not None:
            return None
        for process in victims_of(program, victim):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        outcome = ended(program)
    assert "Traceback" not in outcome.output, outcome.output
    return f"{victim}, {when}, after {pause:.2f} s: exit code {outcome.exit_code}"


@pytest.mark.ranks(2)
@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.matrix("5.6 soak: kills at random moments", cases=KILLS)
def test_a_run_that_is_killed_again_and_again_ends_as_its_twin(tmp_path, capsys):
    say(capsys, f"seed {SEED}, {KILLS} kills")
    generator = random.Random(SEED)
    for number in range(KILLS):
        said = kill_once(tmp_path, generator)
        say(capsys, f"kill {number + 1}: {said}")
        assert said is not None, "the run ended before all kills: more epochs are needed"
    outcome = run_to_the_end(tmp_path, size=2, options=OPTIONS)
    assert "continuing run after step" in outcome.output
    assert result_of(tmp_path, outcome) == twin(2, OPTIONS)
