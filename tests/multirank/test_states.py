"""All that a run keeps is in its registry: it goes on bitwise in another process."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.launch import ROOT, run_on_ranks

DIGITS = str(ROOT / "pipelines" / "digits_cnn.yaml")
DIGITS_CAE = str(ROOT / "pipelines" / "digits_cae.yaml")
OPTIONS = (
    "--train.num_epochs=3",
    "--train.global_batch_size=64",
    "--train.gradient_accumulation_steps=2",
    "--train.last_batch=weighted",
    "--train.non_finite=skip",
    "--train.ema={decay: 0.9}",
    "--train.lookahead={every_steps: 3}",
    "--train.check_every_steps=7",
    "--schedule={name: constant, base_learning_rate: 0.1, warmup_epochs: 0}",
    "--fine_tuning.freeze=[{layers: [trunk], epochs: 1}]",
    "--evaluation.every_epochs=1",
    "--callbacks=[{name: early_stopping, monitor: val_loss, patience: 5, "
    "restore_best_weights: false}, {name: reduce_on_plateau, monitor: val_loss, patience: 1}]",
    "--logging={tensorboard: false, report: false}",
    "--checkpoint=null",
)
# 1,438 images are 23 steps, 46 batches, an epoch.
MOMENTS = {
    "in the first pass of a step, layers frozen": 13,
    "after the last batch of an epoch": 46,
    "after the last pass of a step, layers free": 100,
}


def small_model():
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )


def train(directory, name, pipeline, options, moments=(), resumed=None):
    """Trains and returns what it ends in; keeps the states at some moments."""
    import keras

    from hvd_imgcls import logs
    from hvd_imgcls.config import load_config
    from hvd_imgcls.saving.newest_state import Resumed
    from hvd_imgcls.workflows.startup.ranks import join_ranks
    from hvd_imgcls.workflows.training import callbacks
    from hvd_imgcls.workflows.training.beginning import begin
    from hvd_imgcls.workflows.training.fitting import fit
    from hvd_imgcls.workflows.training.model import labelled_phase, make_model
    from hvd_imgcls.workflows.training.pretraining import pretrain

    if os.environ["HOROVOD_SIZE"] == "1":
        # With more than one thread, TensorFlow's sums are not bitwise the same twice.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ranks = join_ranks(logs.Verbosity.QUIET)

    def path_of(moment):
        return Path(directory, f"{moment}-rank-{ranks.topology.rank}.pickle")

    class Keep(keras.callbacks.Callback):
        def __init__(self, run, phase):
            super().__init__()
            self.run, self.phase = run, phase

        def on_train_batch_end(self, batch, logs=None):
            moment = f"{self.phase.name}-{self.phase.position.num_batches}"
            if moment in moments:
                path_of(moment).write_bytes(pickle.dumps(self.run.states.states()))

        def state(self):
            return {}

        def restore(self, state):
            assert state == {}

    config = load_config(pipeline, [*options, f"--run_dir={directory}/{name}"])
    run = begin(config, ranks, pipeline_name=name, is_fresh=True)
    if resumed is not None:
        states = pickle.loads(path_of(resumed).read_bytes())
        by_rank = [states] * ranks.topology.size
        run = dataclasses.replace(run, resumed=Resumed(step=0, facts={}, states_by_rank=by_rank))
    given = small_model() if config.model.name == "given" else None
    model = make_model(run, given)
    place = callbacks.Place("keep", "last", lambda setting: [Keep(setting.run, setting.phase)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "ORDER", (*callbacks.ORDER, place))
        pretrain(run, model)
        phase = labelled_phase(run, model)
        fit(run, phase)
    written = run.files.metrics
    lines = written.read_text().splitlines() if run.is_root and written.exists() else []
    kept = ("epoch", "step", "loss", "accuracy", "val_loss", "val_top1", "learning_rate")
    return {
        "weights": [np.asarray(v) for v in model.variables],
        "optimizer": [np.asarray(v) for v in model.optimizer.variables],
        "position": phase.position.state(),
        "epochs": [{key: json.loads(line).get(key) for key in kept} for line in lines],
        "steps of the record": run.record.num_steps,
    }


def train_once(directory, moments):
    options = (*OPTIONS, "--model={name: given}")
    return train(directory, "whole", DIGITS, options, moments)


def go_on(directory, moments):
    options = (*OPTIONS, "--model={name: given}")
    return [train(directory, m, DIGITS, options, resumed=m) for m in moments]


def assert_same_end(whole, rest):
    for key in ("weights", "optimizer"):
        for expected, got in zip(whole[key], rest[key], strict=True):
            np.testing.assert_array_equal(got, expected)
    assert rest["position"] == whole["position"]
    assert rest["steps of the record"] == whole["steps of the record"]
    assert rest["epochs"] == whole["epochs"][len(whole["epochs"]) - len(rest["epochs"]) :]


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize("size", [1, 2])
def test_a_run_goes_on_from_its_states_in_another_process(size, tmp_path):
    moments = [f"training-{number}" for number in MOMENTS.values()]
    arguments = [str(tmp_path), moments]
    whole = run_on_ranks(
        train_once, size, arguments=arguments, timeout_seconds=240, fresh=size == 1
    )
    rest = run_on_ranks(go_on, size, arguments=arguments, timeout_seconds=240, fresh=True)
    for rank in range(size):
        assert whole[rank]["position"]["step"] == 69
        for of_moment in rest[rank]:
            assert_same_end(whole[rank], of_moment)
    assert [len(of_moment["epochs"]) for of_moment in rest[0]] == [3, 3, 1]


CAE_OPTIONS = (
    "--model.num_filters=[4, 4]",
    "--pretraining.num_epochs=2",
    "--train.num_epochs=2",
    "--fine_tuning.freeze.0.epochs=1",
    "--schedule.warmup_epochs=0",
    "--logging={tensorboard: false, report: false}",
)


def pretrain_once_and_go_on(directory):
    moments = ["pretraining-30", "training-4"]
    whole = train(directory, "whole", DIGITS_CAE, CAE_OPTIONS, moments)
    return whole, [train(directory, m, DIGITS_CAE, CAE_OPTIONS, resumed=m) for m in moments]


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_a_run_goes_on_in_its_pretraining_and_after_it(tmp_path):
    for whole, rest in run_on_ranks(
        pretrain_once_and_go_on, arguments=[str(tmp_path)], timeout_seconds=240
    ):
        for of_moment in rest:
            assert_same_end(whole, of_moment)
