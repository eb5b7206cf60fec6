"""Callbacks of a pipeline and of a program in whole trainings, on one rank and on two."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from hvd_imgcls.config import load_config, parse_config
from hvd_imgcls.run_directory.paths import EvaluationFiles
from hvd_imgcls.workflows.evaluate import evaluate_file
from tests.support.launch import run_on_ranks
from tests.support.program import PIPELINE as DIGITS
from tests.support.program import running

PIPELINE = """
data: {source: {name: digits}}
model: {name: given}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.125, scaling: none}
train: {global_batch_size: 128, num_epochs: 8}
evaluation: {every_epochs: 1, block_size: 32}
callbacks:
  # Nothing improves by so much: the second epoch lowers the rate, the third one ends the run.
  - {name: reduce_on_plateau, monitor: val_loss, patience: 1, min_delta: 100, factor: 0.5}
  - {name: early_stopping, monitor: val_loss, patience: 2, min_delta: 100}
  - {name: model_checkpoint, monitor: val_top1}
  - {name: csv_logger}
"""


def train_here(folder, given):
    """Returns what came of the training on this rank."""
    import keras

    from hvd_imgcls import distributed, logs
    from hvd_imgcls.workflows.train import train

    class Own(keras.callbacks.Callback):
        seen = ()

        def on_epoch_end(self, epoch, logs=None):
            self.seen = (*self.seen, dict(logs))
            logs["own"] = epoch + 0.5

    configure, distributed.devices.configure = distributed.devices.configure, lambda **_: None
    run_dir = folder / f"run-{distributed.start().topology.size}"
    config = parse_config(PIPELINE, [f"--run_dir={run_dir}"], origin="x.yaml")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10),
        ]
    )
    own = Own()
    result = train(config, model=model, callbacks=[own] if given else [])
    logs.stop()
    distributed.devices.configure = configure
    return {
        "metrics": result.metrics,
        "seen": own.seen,
        "rate": float(model.optimizer.learning_rate.numpy()),
        "weights": model.get_weights(),
    }


@pytest.fixture(scope="module", params=[1, 2])
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deciding")
    results = run_on_ranks(train_here, request.param, arguments=(folder, True))
    return folder / f"run-{request.param}", results


def lines_of(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.ranks(2)
def test_run_ends_when_nothing_improves_and_lowers_the_rate_before(trained):
    run_dir, results = trained
    assert len(lines_of(run_dir)) == 3
    assert [line["learning_rate"] for line in lines_of(run_dir)] == [0.125, 0.125, 0.0625]
    assert all(result["rate"] == 0.03125 for result in results)
    assert (
        "stopped after epoch 3: the best val_loss was that of epoch 1"
        in (run_dir / "log.txt").read_text()
    )


@pytest.mark.ranks(2)
def test_model_of_the_run_is_that_of_the_best_epoch_on_all_ranks(trained):
    run_dir, results = trained
    first = lines_of(run_dir)[0]
    for result in results:
        assert result["metrics"]["loss"] == first["val_loss"]
        assert result["metrics"]["top1"] == first["val_top1"]
        assert result["metrics"]["roc_auc"]["macro"] == first["val_roc_auc"]
        for own, other in zip(result["weights"], results[0]["weights"], strict=True):
            np.testing.assert_array_equal(own, other)


@pytest.mark.ranks(2)
def test_best_model_on_disk_has_the_metrics_that_it_was_kept_for(trained):
    run_dir, _ = trained
    best = json.loads((run_dir / "checkpoints" / "best.json").read_text())
    assert best["val_top1"] == max(line["val_top1"] for line in lines_of(run_dir))
    assert sorted(path.name for path in (run_dir / "checkpoints").glob("*best*")) == [
        "best.json",
        "best.keras",
    ]
    again = evaluate_file(
        load_config(run_dir / "config.yaml"),
        run_dir / "checkpoints" / "best.keras",
        files=EvaluationFiles(run_dir / "again"),
    )
    assert (again["loss"], again["top1"]) == (best["val_loss"], best["val_top1"])


@pytest.mark.ranks(2)
def test_csv_file_has_a_line_for_every_epoch(trained):
    run_dir, _ = trained
    header, *rows = (run_dir / "metrics.csv").read_text().splitlines()
    assert (
        header
        == "epoch,accuracy,learning_rate,loss,val_balanced_accuracy,val_loss,val_roc_auc,val_top1"
    )
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2"]
    assert [float(row.split(",")[-1]) for row in rows] == [
        line["val_top1"] for line in lines_of(run_dir)
    ]


@pytest.mark.ranks(2)
def test_callback_of_a_program_runs_on_the_root_with_the_metrics_of_the_run(trained):
    run_dir, results = trained
    assert [line["own"] for line in lines_of(run_dir)] == [0.5, 1.5, 2.5]
    assert [logs["val_loss"] for logs in results[0]["seen"]] == [
        line["val_loss"] for line in lines_of(run_dir)
    ]
    assert all(result["seen"] == () for result in results[1:])


FAIL = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command line sets it
import keras
import hvd_imgcls.workflows.train
from hvd_imgcls.cli import run
from hvd_imgcls.train import train

class Full(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise OSError(28, "No space left on device")

hvd_imgcls.workflows.train.train = lambda *words, **more: train(*words, callbacks=[Full()], **more)
sys.argv = ["hvd-imgcls", "train", sys.argv[1]]
run()
"""


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_a_callback_that_fails_on_the_root_ends_the_program_with_one_cause(tmp_path):
    words = [sys.executable, "-c", FAIL, DIGITS]
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 1, program.output
        output = program.output
    # Python 3.13 shows the line of the program too.
    assert output.count("[Errno 28] No space left on device") == 1, output
    assert "in Full.on_epoch_end, run on rank 0 for all" in output
    assert output.count("Traceback (most recent call last)") == 1, output
