import json
import logging
from types import SimpleNamespace

import pytest

from hvd_imgcls import progress
from hvd_imgcls.config import parse_config
from hvd_imgcls.plan import make_plan
from hvd_imgcls.progress import Progress, StopAfterSteps
from hvd_imgcls.topology import Topology

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 10, num_steps: 25, gradient_accumulation_steps: 2}
"""


@pytest.fixture
def plan():
    return make_plan(
        parse_config(PIPELINE, origin="x.yaml"),
        num_train_examples=100,
        num_held_out_examples=10,
        num_classes=2,
        topology=Topology.single(),
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def train(callback, plan, clock, *, seconds_per_batch, logs):
    callback.on_train_begin()
    left = plan.num_steps * plan.gradient_accumulation_steps
    for epoch in range(plan.num_epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(min(plan.batches_per_epoch, left)):
            clock.seconds += seconds_per_batch
            callback.on_train_batch_end(batch, dict(logs))
            left -= 1
        callback.on_epoch_end(epoch, dict(logs))


def test_progress_of_a_fast_run_says_the_end_only(plan, clock, caplog):
    caplog.set_level(logging.INFO, "hvd_imgcls")
    train(
        Progress(plan, metrics_path=None),
        plan,
        clock,
        seconds_per_batch=0.01,
        logs={"loss": 0.5, "accuracy": 0.25},
    )
    assert caplog.messages == ["epoch 3/3  step 25/25  loss 0.5000  accuracy 0.2500  500 images/s"]


def test_progress_of_a_slow_run_says_speed_and_time_left(plan, clock, caplog):
    caplog.set_level(logging.INFO, "hvd_imgcls")
    train(Progress(plan, metrics_path=None), plan, clock, seconds_per_batch=1, logs={"loss": 0.5})
    # A line every 3 of 50 seconds, one more for the end.
    assert 15 <= len(caplog.messages) <= 18
    expected = "epoch 1/3  step 4/25  loss 0.5000 on this rank  5 images/s  42 s left"
    assert expected in caplog.messages


def test_progress_writes_one_line_of_metrics_per_epoch(plan, clock, tmp_path):
    path = tmp_path / "metrics.jsonl"
    train(
        Progress(plan, metrics_path=path),
        plan,
        clock,
        seconds_per_batch=0.01,
        logs={"loss": float("nan"), "accuracy": 0.25},
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 10), (2, 20), (3, 25)]
    assert (lines[-1]["loss"], lines[-1]["accuracy"]) == (None, 0.25)
    assert lines[-1]["images_per_second"] == 500.0


def test_stop_after_steps_stops_at_the_last_step_and_not_before(plan):
    callback = StopAfterSteps(plan)
    callback.set_model(SimpleNamespace(stop_training=False))
    stopped = []
    for batch in range(50):
        callback.on_train_batch_end(batch)
        stopped.append(callback.model.stop_training)
    assert stopped.index(True) == 49


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")]
)
def test_duration_is_said_as_people_say_it(seconds, text):
    assert progress._duration(seconds) == text
