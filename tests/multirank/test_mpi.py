"""Ranks that mpirun starts: those that fail or freeze end the run, which continues."""

import signal
import sys

import pytest

from tests.support.deaths import require_same_end, require_survival
from tests.support.program import BIN, Launched, has_mpi, launcher_words
from tests.support.survival import ENVIRONMENT, ended, run_with_fault
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


@pytest.mark.matrix("C: death of a rank under mpirun")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("action", ["kill", "term", "raise"])
def test_a_rank_that_fails_ends_the_run_which_continues(action, moment, tmp_path):
    def said(exit_code):
        if exit_code == 75:
            return "give the same command again to continue"
        if action == "raise":
            return rf"\[rank {rank}/2\] unexpected error"
        return rf"process rank {rank} with PID .* exited on signal|Process name: .*,{rank}\]"

    step, rank = MOMENTS[moment]
    fault = f"{action}@{moment}:rank={rank}:step={step}"
    require_survival(tmp_path, fault, OPTIONS, said, launcher="mpi")


@pytest.mark.parametrize("action", ["stop", "loop"])
def test_a_rank_without_progress_ends_the_run_which_continues(action, tmp_path):
    options = (*OPTIONS, "--watchdog={step_seconds: 6}")
    fault = f"{action}@before_step:rank=1:step=15"
    outcome = run_with_fault(tmp_path, fault, size=2, options=options, launcher="mpi")
    assert outcome.exit_code == 6, outcome.output
    assert outcome.seconds < 30, outcome.output
    # A frozen rank cannot say it: the one that waits does.
    said_by = 0 if action == "stop" else 1
    assert f"[rank {said_by}/2] " in outcome.output, outcome.output
    assert "no progress" in outcome.output, outcome.output
    require_same_end(tmp_path, OPTIONS, "mpi")


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
    require_same_end(tmp_path, OPTIONS, "mpi")
