"""Ranks that fail at every moment of a run: it ends, says why, and continues bit for bit."""

import itertools

import pytest

from tests.support.deaths import require_survival
from tests.support.survival import OPTIONS

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


@pytest.mark.ranks(2)
@pytest.mark.matrix("A: death of a rank")
@pytest.mark.parametrize(("action", "moment", "rank"), CASES)
def test_a_rank_that_fails_ends_the_run_which_continues(action, moment, rank, tmp_path):
    def said(exit_code):
        saved = "it can be continued"
        return saved if exit_code == 75 else f"rank {rank} on localhost ended first"

    step = {**MOMENTS, **OF_THE_WRITER}[moment]
    require_survival(tmp_path, f"{action}@{moment}:rank={rank}:step={step}", OPTIONS, said)
