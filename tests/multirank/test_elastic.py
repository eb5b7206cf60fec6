"""`hvd.elastic` as Horovod's example uses it: a rank is killed, hosts come and go."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from tests.support.hosts import horovodrun
from tests.support.program import running

pytestmark = [pytest.mark.ranks(2), pytest.mark.timeout(300)]

SCRIPT = """
import json, os, sys
import numpy as np
import keras
import hvd_imgcls.keras as hvd

hvd.init()
keras.utils.set_random_seed(hvd.rank())
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x.sum(1) > 0).astype("int32")
model = keras.Sequential([keras.layers.Input([8]), keras.layers.Dense(2)])
model.compile(
    optimizer=hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
state = hvd.elastic.KerasState(model, batch=0, epoch=0, resets=[])

def on_reset():
    state.resets = state.resets + [[hvd.size(), state.epoch]]

state.register_reset_callbacks([on_reset])

class Log(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if hvd.rank() == 0:
            print(f"EPOCH {state.epoch + 1} of {hvd.size()} ranks", flush=True)
        fault = os.environ.get("FAULT", "")
        if fault and not os.path.exists("done") and state.epoch == 3 and hvd.rank() == 1:
            open("done", "w").close()
            if fault == "kill":
                os.kill(os.getpid(), 9)
            raise ValueError("planted")
        import time
        time.sleep(float(os.environ.get("PAUSE", "0")))

callbacks = [
    hvd.elastic.CommitStateCallback(state, batches_per_commit=4),
    Log(),
    hvd.elastic.UpdateBatchStateCallback(state),
    hvd.elastic.UpdateEpochStateCallback(state),
]

@hvd.elastic.run
def train(state):
    rows = slice(hvd.rank(), None, hvd.size())
    model.fit(x[rows], y[rows], batch_size=8, shuffle=False, verbose=0,
              epochs=EPOCHS - state.epoch, callbacks=callbacks)

train(state)
if hvd.rank() == 0:
    found = {"epoch": state.epoch, "resets": state.resets, "size": hvd.size(),
             "iterations": int(model.optimizer.iterations),
             "weights": [float(w.numpy().astype("float64").sum()) for w in model.weights]}
    json.dump(found, open("result.json", "w"))
"""
ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def launched(directory, options, environment=None, epochs=6):
    (directory / "script.py").write_text(SCRIPT.replace("EPOCHS", str(epochs)))
    words = horovodrun(*options, sys.executable, "script.py")
    return running(words, size=1, cwd=directory, environment={**ENVIRONMENT, **(environment or {})})


def result(directory):
    return json.loads((directory / "result.json").read_text())


@pytest.mark.parametrize("fault", ["kill", pytest.param("raise", marks=pytest.mark.slow)])
def test_a_rank_that_fails_costs_what_was_not_committed(tmp_path, fault):
    options = ["--min-np", "2", "--max-np", "2", "-H", "localhost:2"]
    with launched(tmp_path, options, {"FAULT": fault}) as program:
        assert program.wait(120) == 0, program.output
    found = result(tmp_path)
    # 4 steps an epoch. The fault came before the fourth epoch was committed.
    assert found["epoch"] == 6, program.output
    assert found["iterations"] == 24
    assert found["resets"] == [[2, 3]]
    how = "by SIGKILL" if fault == "kill" else "with exit code 1"
    assert f"rank 1 on localhost ended first, {how}" in program.output
    assert "starting again in 1 s (1 of 3)" in program.output
    assert not list(tmp_path.glob(".elastic-*"))
    # As if nothing had happened.
    with launched(tmp_path, options) as program:
        assert program.wait(120) == 0, program.output
    undisturbed = result(tmp_path)
    assert undisturbed["resets"] == []
    assert undisturbed["weights"] == found["weights"]


@pytest.mark.slow
def test_slots_come_and_go_and_a_signal_saves(tmp_path):
    hosts = tmp_path / "hosts.sh"
    number = tmp_path / "number"
    number.write_text("localhost:1\n")
    hosts.write_text(f"#!/bin/sh\ncat {number}\n")
    hosts.chmod(0o755)
    options = ["--min-np", "1", "--max-np", "2", "--host-discovery-script", str(hosts)]
    commits = {"HVD_IMGCLS_ELASTIC_DIR": str(tmp_path / "commits"), "PAUSE": "0.3"}
    with launched(tmp_path, options, commits, epochs=200) as program:
        program.wait_for_output("EPOCH 3 of 1 ranks", 60)
        number.write_text("localhost:2\n")
        program.wait_for_output("of 2 ranks", 60)
        assert "more slots can be used; starting again" in program.output
        number.write_text("localhost:1\n")
        program.wait_for_output("localhost will be removed or has fewer slots", 30)
        seen = program.output.count("of 1 ranks")
        deadline = time.monotonic() + 60
        while program.output.count("of 1 ranks") == seen:
            assert time.monotonic() < deadline, program.output
            time.sleep(0.1)
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.wait(60) == 75, program.output
        assert "Traceback" not in program.output
    # Given again, the command goes on where it was.
    with launched(tmp_path, options, {**commits, "PAUSE": "0"}, epochs=30) as program:
        assert program.wait(100) == 0, program.output
    found = result(tmp_path)
    sizes = [size for size, _ in found["resets"]]
    epochs = [epoch for _, epoch in found["resets"]]
    assert sizes[:2] == [2, 1]
    assert epochs == sorted(epochs)
    assert found["epoch"] == max(30, epochs[-1])


def test_a_model_without_weights_is_refused_with_the_fix():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ConfigError, match=r"call model\.compile"):
        hvd.elastic.KerasState(model, epoch=0)
    model.compile("sgd", "mse")
    with pytest.raises(ConfigError, match=r"model\.build"):
        hvd.elastic.KerasState(model, epoch=0)
    with pytest.raises(ConfigError, match="one with epoch"):
        hvd.elastic.UpdateEpochStateCallback(hvd.elastic.ObjectState(batch=0))
    with pytest.raises(ConfigError, match="a positive integer"):
        hvd.elastic.CommitStateCallback(hvd.elastic.ObjectState(), batches_per_commit=0)
