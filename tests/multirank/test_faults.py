"""Ranks that fail at every moment of a run: it ends, says why, and continues bit for bit."""

import itertools

import pytest

from tests.support.survival import OPTIONS, result_of, run_to_the_end, run_with_fault, twin

# Moments with the step, or the how manieth time, at which the fault happens.
MOMENTS = {
    "import": 1,
    "rendezvous": 1,
    "before_broadcast": 1,
    "before_step": 15,
    "early_in_step": 35,
    "late_in_step": 55,
    "after_step": 44,
    "evaluation": 1,
    "final_evaluation": 1,
    "model_file": 1,
    "done": 1,
}
OF_THE_WRITER = {"checkpoint_write": 30, "before_rename": 5, "after_rename": 5, "retention": 3}
FAST = {("kill", "after_step", 1)}

CASES = [
    pytest.param(
        action,
        moment,
        rank,
        marks=[] if (action, moment, rank) in FAST else [pytest.mark.slow],
        id=f"{action}@{moment}:rank={rank}",
    )
    for action, (moment, rank) in itertools.product(
        ("kill", "term", "raise"),
        [
            *itertools.product(MOMENTS, (0, 1)),
            *((moment, 0) for moment in OF_THE_WRITER),
        ],
    )
] + [
    pytest.param(action, moment, rank, marks=pytest.mark.slow, id=f"{action}@{moment}:rank={rank}")
    for action, moment, rank in itertools.product(
        ("segv", "memory"), ("before_step", "early_in_step", "after_step"), (0, 1)
    )
]
EXIT_CODES = {"kill": {137}, "term": {75, 143}, "raise": {1}, "segv": {139}, "memory": {1}}


@pytest.mark.ranks(2)
@pytest.mark.matrix("A: death of a rank")
@pytest.mark.parametrize(("action", "moment", "rank"), CASES)
def test_a_rank_that_fails_ends_the_run_which_continues(action, moment, rank, tmp_path):
    step = {**MOMENTS, **OF_THE_WRITER}[moment]
    fault = f"{action}@{moment}:rank={rank}:step={step}"
    outcome = run_with_fault(tmp_path, fault, size=2, options=OPTIONS)
    assert outcome.seconds < 30, outcome.output
    is_complete = (tmp_path / "run" / "summary.json").exists()
    if action == "term" and outcome.exit_code == 0:
        # The run was complete before the rank would have ended.
        assert is_complete, outcome.output
        return
    assert outcome.exit_code in EXIT_CODES[action], outcome.output
    said = f"rank {rank} on localhost ended first"
    if outcome.exit_code == 75:
        said = "it can be continued"
    assert said in outcome.output, outcome.output
    if is_complete:
        return
    continued = run_to_the_end(tmp_path, size=2, options=OPTIONS)
    assert result_of(tmp_path, continued) == twin(2, OPTIONS)
