"""Runs that are stopped at each kind of moment, and continued each time, end as if they never were.

One run is stopped at all moments one after the other: so each continuation begins where another one
was stopped, and the result is that of the run that was never stopped, bit for bit, or it is not.
"""

import json

import pytest

from tests.support.fault_injection import POLL_ALWAYS
from tests.support.protections import WITHOUT
from tests.support.survival import ended, result_of, run_to_the_end, run_with_fault, twin
from tests.support.survival import running_with_fault as running
from tests.support.trainings import TRAININGS

ENVIRONMENT = {POLL_ALWAYS: "1"}
D3 = "5.5 D3: stopped at each moment"
D4 = "5.5 D4: killed again while it continues"
WITH_OPTIONS = "5.5 D3: with everything that keeps a state"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for the images of all trainings."""
    return tmp_path_factory.mktemp("images")


def stop(directory, action, moment, size, options):
    """Starts or continues a run, stops it at a moment, and says how it ended."""
    where, _, step = moment.partition(":")
    fault = f"{action}@{where}:rank={size - 1}:{step}"
    outcome = run_with_fault(directory, fault, size=size, options=options, environment=ENVIRONMENT)
    if action == "term":
        assert outcome.exit_code == 75, outcome.output
        assert status_of(directory) == "stopped"
    else:
        assert outcome.exit_code == (-9 if size == 1 else 137), outcome.output
        assert size == 1 or f"rank {size - 1} on localhost ended first" in outcome.output
    assert "Traceback" not in outcome.output, outcome.output
    return outcome


def status_of(directory):
    return json.loads((directory / "run" / "status.json").read_text())["state"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.matrix(D3, cases=6)
@pytest.mark.parametrize("action", ["term", "kill"])
@pytest.mark.parametrize(
    ("size", "name"),
    [
        (1, "plain"),
        pytest.param(2, "everything", marks=pytest.mark.ranks(2)),
        pytest.param(3, "plain", marks=pytest.mark.ranks(3)),
    ],
)
def test_stopped_at_each_moment(size, name, action, folder, tmp_path):
    training = TRAININGS[name](folder)
    for moment in training.moments.values():
        stop(tmp_path, action, moment, size, training.options)
    outcome = run_to_the_end(tmp_path, size=size, options=training.options)
    assert result_of(tmp_path, outcome) == twin(size, training.options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix(WITH_OPTIONS, cases=3)
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(
    ("name", "moments"),
    [
        # Its second and third stop are in the phase with labels: 3 batches in each of 4 epochs.
        ("pretrained", ("before_step:step=30", "before_step:step=46", "after_step:step=9")),
        ("quarantined", ("before_step:step=5", "after_step:step=12", "before_step:step=30")),
        ("vertical", ("before_step:step=5", "after_step:step=12", "before_step:step=30")),
    ],
)
def test_whatever_keeps_a_state_goes_on(name, moments, size, folder, tmp_path):
    training = TRAININGS[name](folder)
    for moment, action in zip(moments, ("kill", "term", "kill"), strict=True):
        stop(tmp_path, action, moment, size, training.options)
    outcome = run_to_the_end(tmp_path, size=size, options=training.options)
    assert result_of(tmp_path, outcome) == twin(size, training.options)


@pytest.mark.slow
@pytest.mark.matrix(D3)
def test_stopped_between_training_and_evaluation(folder, tmp_path):
    """Nobody asks whether to stop then: the process ends at once, and can be continued."""
    training = TRAININGS["plain"](folder)
    stop(tmp_path, "term", "model_file:step=1", 1, training.options)
    outcome = run_to_the_end(tmp_path, size=1, options=training.options)
    assert result_of(tmp_path, outcome) == twin(1, training.options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix(D4)
@pytest.mark.parametrize(
    "again",
    ["before_broadcast:step=1", "before_step:step=36", "checkpoint_write:step=1"],
)
def test_killed_again_while_it_continues(again, folder, tmp_path):
    training = TRAININGS["plain"](folder)
    stop(tmp_path, "kill", "before_step:step=35", 2, training.options)
    where, _, step = again.partition(":")
    fault = f"kill@{where}:rank=0:{step}"
    outcome = run_with_fault(tmp_path, fault, size=2, options=training.options)
    assert outcome.exit_code == 137, outcome.output
    outcome = run_to_the_end(tmp_path, size=2, options=training.options)
    assert result_of(tmp_path, outcome) == twin(2, training.options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.matrix("5.5 D1: the same seed twice")
@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.ranks(size)) for size in (1, 2, 3, 4)]
)
def test_the_same_seed_twice(size, folder, tmp_path):
    training = TRAININGS["plain"](folder)
    outcome = run_to_the_end(tmp_path, size=size, options=training.options)
    assert result_of(tmp_path, outcome) == twin(size, training.options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.matrix("5.5 D7: about the same losses on any number of ranks")
@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.ranks(size)) for size in (1, 3, 4)]
)
def test_about_the_same_losses_on_any_number_of_ranks(size, folder):
    options = TRAININGS["plain"](folder).options
    _, files = twin(size, options)
    _, expected = twin(2, options)
    # Sums in another order differ by 1e-7, which grows while the loss falls steeply.
    tolerances = (1e-5, 0.03, 0.03)
    pairs = zip(files["metrics.jsonl"], expected["metrics.jsonl"], strict=True)
    for (line, other), tolerance in zip(pairs, tolerances, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=tolerance)
        assert line["val_loss"] == pytest.approx(other["val_loss"], rel=tolerance)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.matrix("negative controls")
@pytest.mark.parametrize("protection", ["momenta", "start_position"])
def test_what_is_not_restored_is_noticed(protection, folder, tmp_path):
    training = TRAININGS["plain"](folder)
    stop(tmp_path, "kill", training.moments["mid"], 1, training.options)
    with running(
        tmp_path, "", size=1, options=training.options, environment={WITHOUT: protection}
    ) as program:
        outcome = ended(program)
    assert outcome.exit_code == 0, outcome.output
    weights, _ = result_of(tmp_path, outcome)
    assert weights != twin(1, training.options)[0]
