"""A `fit` with `hvd.callbacks.Checkpoint` that ends early is continued bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import ROOT, run_on_ranks
from tests.support.program import running

SCRIPT = str(ROOT / "tests" / "support" / "keras_script.py")


def train(options):
    from tests.support import keras_script

    return keras_script.train(options)


def train_in_parts(directory, options, ends):
    """Returns the result of a whole training, and that of one which failed several times."""
    from tests.support import keras_script

    whole = keras_script.train({**options, "directory": f"{directory}/whole"})
    parts = {**options, "directory": f"{directory}/parts"}
    for end in ends:
        with contextlib.suppress(keras_script.CrashError):
            keras_script.train({**parts, "end": [0, "raise", *end]})
            raise AssertionError("it should have ended")
    return whole, keras_script.train(parts), keras_script.train(parts)


def assert_same(whole, rest):
    for key in ("weights", "random", "optimizer", "epochs", "history"):
        assert rest[key] == whole[key], key


CASES = {
    "several ends": ({}, [(0, 4), (1, 1), (3, 5)], [3, 3, 21]),
    "executions, own data": (
        {"steps_per_execution": 2, "dataset": "own", "every_steps": 2},
        [(1, 4)],
        [1, 4, 10],
    ),
    "passes, not built": (
        {"passes": 2, "declares_input": False, "every_steps": 2},
        [(1, 3)],
        [1, 2, 4],
    ),
    "stopped early": ({"early_stopping": True, "epochs": 9}, [(1, 3)], [1, 3, 9]),
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("size", "case"),
    [
        (2, "passes, not built"),
        *(
            pytest.param(2, case, marks=pytest.mark.slow)
            for case in CASES
            if case != "passes, not built"
        ),
        *(pytest.param(1, case, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_fit_goes_on_as_if_it_had_not_been_interrupted(size, case, tmp_path):
    options, ends, start = CASES[case]
    results = run_on_ranks(
        train_in_parts, size, arguments=[str(tmp_path), options, ends], timeout_seconds=200
    )
    for whole, rest, again in results:
        assert rest["start"] == start
        assert_same(whole, rest)
        # Training that is over is not begun again.
        assert again["start"][:2] == [len(whole["epochs"]), 0]
        assert_same(whole, again)


def refusals(directory):
    """Returns the messages about each `fit` that cannot be continued exactly."""
    import keras

    import hvd_imgcls.keras as hvd
    from tests.support import keras_script

    begun = {"directory": f"{directory}/begun", "epochs": 1}
    keras_script.train(begun)
    Path(directory, "file").touch()

    def fit(before=(), after=(), directory=f"{directory}/new", **options):
        checkpoint = hvd.callbacks.Checkpoint(directory)
        model = keras_script.make_model(keras_script.DEFAULTS)
        options = keras_script.DEFAULTS | options
        data, _ = keras_script.make_data(options, checkpoint, 6)
        model.fit(data, steps_per_epoch=6, verbose=0, callbacks=[*before, checkpoint, *after])

    def hold():
        holder = hvd.callbacks.Checkpoint(f"{directory}/held")
        assert holder.position.step == 0
        assert hvd.callbacks.Checkpoint(f"{directory}/held").position.step == 0

    average = hvd.callbacks.MetricAverageCallback()
    backup = keras.callbacks.BackupAndRestore(f"{directory}/backup")
    return {
        "fingerprint": message_of(lambda: train({**begun, "fingerprint": "b"})),
        "position": message_of(lambda: train({**begun, "epochs": 2, "dataset": "ignorant"})),
        "other data": message_of(lambda: train({**begun, "epochs": 2, "dataset": "other"})),
        "no seed": message_of(
            lambda: train({"directory": f"{directory}/no-seed", "dataset": "without a seed"})
        ),
        "finite": message_of(lambda: fit(dataset="finite")),
        "steps": message_of(
            lambda: train({**begun, "epochs": 2, "global_batch": 16, "dataset": "own"})
        ),
        "executions": message_of(
            lambda: train({"directory": f"{directory}/new", "steps_per_execution": 4})
        ),
        "not last": message_of(lambda: fit(after=[average])),
        "backup": message_of(lambda: fit(before=[hvd.callbacks.RankSafe(backup)])),
        "other callbacks": message_of(lambda: fit(directory=begun["directory"], before=[average])),
        "held": message_of(hold),
        "no directory": message_of(lambda: train({"directory": f"{directory}/file/x"})),
        "argument": message_of(lambda: hvd.callbacks.Checkpoint("x", every_steps=0)),
    }


@pytest.mark.ranks(2)
def test_what_cannot_be_continued_exactly_is_an_error_on_all_ranks(tmp_path):
    first, second = run_on_ranks(refusals, arguments=[str(tmp_path)], timeout_seconds=120)
    expected = {
        "fingerprint": "got 'b', expected None, that of",
        "position": "data that begin at checkpoint.position",
        "other data": "another first batch of the first epoch than when training began",
        "no seed": "batches that differ when an epoch is read twice",
        "finite": "a dataset of 6 batches",
        "steps": "got 3, expected 6, as when it was saved",
        "executions": "a multiple of 4, the steps_per_execution",
        "not last": "Checkpoint as the last one",
        "backup": "remove BackupAndRestore",
        "other callbacks": "those of the training that is continued",
        "held": "that no other command writes",
        "no directory": "a directory that can be written",
        "argument": "Checkpoint(every_steps): got 0",
    }
    for key, text in expected.items():
        assert text in first[key], key
        assert text in second[key], key


def launch(cwd, size=2, **options):
    """Runs the script as a user does; returns its exit code, its output and its results."""
    environment = {"TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        options = {"result": "result", **options}
        words = [sys.executable, SCRIPT, json.dumps(options)]
        with running(words, size=size, cwd=cwd) as program:
            code = program.wait(200)
            output = program.output
    paths = [Path(cwd, f"{options['result']}-{rank}.json") for rank in range(size)]
    return code, output, [json.loads(path.read_text()) for path in paths if path.exists()]


def test_a_script_that_sigterm_stops_goes_on(tmp_path):
    """On one rank, without a launcher."""
    code, output, _ = launch(tmp_path, 1, end=[0, "SIGTERM", 1, 3])
    assert code == 75, output
    assert output.count("stopped by SIGTERM after step 10; saved in") == 1
    assert "Traceback" not in output
    code, output, [rest] = launch(tmp_path, 1)
    assert code == 0, output
    assert rest["start"] == [1, 4, 10]
    assert rest["epochs"] == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("end", "expected_code"),
    [
        ([0, "SIGTERM", 1, 3], 75),
        ([1, "SIGUSR1", 2, 0], 75),
        ([0, "SIGKILL", 1, 5], 137),
        ([1, "SIGKILL", 2, 4], 137),
    ],
    ids=str,
)
def test_a_launch_that_a_signal_ends_goes_on(end, expected_code, tmp_path):
    code, output, whole = launch(tmp_path, directory="whole", result="whole")
    assert code == 0, output
    code, output, _ = launch(tmp_path, end=end)
    assert code == expected_code, output
    assert output.count("give the same command again to continue") == (code == 75), output
    code, output, rest = launch(tmp_path)
    assert code == 0, output
    for one, other in zip(whole, rest, strict=True):
        assert other["start"][2] > 0
        assert_same(one, other)


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize(("then", "now"), [(2, 1), (1, 2)])
def test_on_another_number_of_ranks_only_rounding_and_dropout_differ(then, now, tmp_path):
    _, _, whole = launch(tmp_path, then, directory="whole", result="whole")
    code, output, _ = launch(tmp_path, then, end=[0, "SIGTERM", 1, 3])
    assert code == 75, output
    code, output, rest = launch(tmp_path, now)
    assert code == 0, output
    assert "continuing checkpoints on another number of ranks" in output
    assert rest[0]["epochs"] == whole[0]["epochs"]
    assert rest[0]["history"]["loss"][0] == whole[0]["history"]["loss"][0]
    np.testing.assert_allclose(rest[0]["history"]["loss"], whole[0]["history"]["loss"], rtol=0.15)


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    _, _, whole = launch(tmp_path, directory="whole", result="whole")
    code, output, _ = launch(tmp_path, end=[0, "SIGTERM", 2, 3])
    assert code == 75, output
    checkpoints = sorted(path for path in (tmp_path / "checkpoints").glob("step-*"))
    file = max(checkpoints[-1].iterdir(), key=os.path.getsize)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, output, rest = launch(tmp_path)
    assert code == 0, output
    assert output.count("renamed to damaged-") == 1, output
    for one, other in zip(whole, rest, strict=True):
        assert other["start"][2] == int(checkpoints[-2].name.removeprefix("step-"))
        assert_same(one, other)


@pytest.mark.slow
def test_a_second_script_in_the_same_directory_is_refused(tmp_path):
    options = json.dumps({"result": "first", "end": [0, "SIGSTOP", 1, 0]})
    with running([sys.executable, SCRIPT, options], size=1, cwd=tmp_path) as first:
        wait_for(lambda: list((tmp_path / "checkpoints").glob("step-*")))
        code, output, _ = launch(tmp_path, 1)
        assert code != 0
        assert "that no other command writes" in output
        assert first.process.poll() is None


def wait_for(condition, timeout_seconds=60):
    import time

    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
