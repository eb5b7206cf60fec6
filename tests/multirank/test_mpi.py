"""Ranks that mpirun starts: those that fail or freeze end the run, which continues."""

import re
import signal
import sys

import pytest

from tests.support.program import BIN, Launched, has_mpi, launcher_words
from tests.support.survival import (
    ENVIRONMENT,
    ended,
    result_of,
    run_to_the_end,
    run_with_fault,
    twin,
)
from tests.support.trainings import TRAININGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ranks(2),
    pytest.mark.timeout(400),
    pytest.mark.skipif(not has_mpi(), reason="Horovod was built without MPI, or no mpirun"),
]
OPTIONS = TRAININGS["plain"](None).options
# The step, or the how manieth time, and the rank.
MOMENTS = {
    "rendezvous": (1, 1),
    "before_step": (15, 0),
    "early_in_step": (35, 1),
    "checkpoint_write": (30, 0),
    "final_evaluation": (1, 1),
    "done": (1, 0),
}
EXIT_CODES = {"kill": {137}, "term": {75, 143}, "raise": {1}}


@pytest.mark.matrix("C: death of a rank under mpirun")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("action", EXIT_CODES)
def test_a_rank_that_fails_ends_the_run_which_continues(action, moment, tmp_path):
    step, rank = MOMENTS[moment]
    fault = f"{action}@{moment}:rank={rank}:step={step}"
    outcome = run_with_fault(tmp_path, fault, size=2, options=OPTIONS, launcher="mpi")
    assert outcome.output.count("FAULT") == 1
    assert outcome.seconds < 30, outcome.output
    is_complete = (tmp_path / "run" / "summary.json").exists()
    if action == "term" and outcome.exit_code == 0:
        # The run was complete before the rank would have ended.
        assert is_complete, outcome.output
        return
    assert outcome.exit_code in EXIT_CODES[action], outcome.output
    assert re.search(said(action, rank, outcome.exit_code), outcome.output), outcome.output
    if not is_complete:
        require_same_end(tmp_path)


def said(action, rank, exit_code):
    """Returns what must be in the output: of mpirun, or of the rank itself."""
    if exit_code == 75:
        return "give the same command again to continue"
    if action == "raise":
        return rf"\[rank {rank}/2\] unexpected error"
    return rf"process rank {rank} with PID .* exited on signal|Process name: .*,{rank}\]"


def require_same_end(directory):
    continued = run_to_the_end(directory, size=2, options=OPTIONS, launcher="mpi")
    assert result_of(directory, continued) == twin(2, OPTIONS)


@pytest.mark.parametrize("action", ["stop", "loop"])
def test_a_rank_without_progress_ends_the_run_which_continues(action, tmp_path):
    options = (*OPTIONS, "--watchdog={step_seconds: 6}")
    fault = f"{action}@before_step:rank=1:step=15"
    outcome = run_with_fault(tmp_path, fault, size=2, options=options, launcher="mpi")
    assert outcome.exit_code == 6, outcome.output
    assert outcome.seconds < 30, outcome.output
    waits = 0 if action == "stop" else 1
    assert f"[rank {waits}/2] " in outcome.output, outcome.output
    assert "no progress" in outcome.output, outcome.output
    require_same_end(tmp_path)


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_launcher_that_ends_leaves_nothing_and_the_run_continues(launcher, name, tmp_path):
    horovodrun = [str(BIN / "horovodrun"), "--mpi", "-np", "2", "-H", "localhost:2"]
    words = launcher_words("mpi", 2) if launcher == "mpirun" else horovodrun
    command = [sys.executable, "-m", "hvd_imgcls", "train", "digits_cnn", *OPTIONS, "--run_dir=run"]
    program = Launched([*words, *command], tmp_path, ENVIRONMENT)
    try:
        program.wait_for_output("images/s", 150)
        program.process.send_signal(signal.Signals[name])
        outcome = ended(program)
    finally:
        program.end()
    assert outcome.exit_code != 0, outcome.output
    assert outcome.seconds < 30, outcome.output
    require_same_end(tmp_path)
