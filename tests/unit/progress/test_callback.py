import json
import logging
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from hvd_imgcls import distributed
from hvd_imgcls.config import parse_config
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import make_plan
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress import Progress, ProgressOutput, Record, StopAfterSteps
from tests.support.counting import CountBatches

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


QUIETLY = {"verbose": 0, "shuffle": False}


class Clock:
    """A clock that the test turns."""

    seconds = 1000.0

    def __call__(self):
        return self.seconds


class Optimizer:
    learning_rate = 0.25
    iterations = 0


def train(plan, *, seconds_per_batch, logs, **arguments):
    """Calls a `Progress` as `fit` does; returns its record."""
    clock = Clock()
    record = Record(clock=clock)
    position = Position(plan.gradient_accumulation_steps)
    output = ProgressOutput(**arguments)
    callback = Progress(plan, position, record, distributed.start(), output=output)
    model = SimpleNamespace(
        optimizer=Optimizer(), steps_per_execution=1, train_function=lambda iterator: None
    )
    callback.set_model(model)
    callback.on_train_begin()
    left = plan.num_steps * plan.gradient_accumulation_steps
    for epoch in range(plan.num_epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(min(plan.batches_per_epoch, left)):
            clock.seconds += seconds_per_batch
            model.optimizer.iterations += batch % 2
            position.end_batch()
            callback.on_train_batch_end(batch, dict(logs))
            left -= 1
        callback.on_epoch_end(epoch, dict(logs))
        position.end_epoch()
    callback.on_train_end()
    return record


def test_progress_of_a_fast_run_says_the_end_of_every_epoch_with_what_is_monitored(plan, caplog):
    caplog.set_level(logging.INFO, "hvd_imgcls")
    logs = {"loss": 0.5, "accuracy": 0.25, "val_top1": 0.75, "val_roc_auc": 0.875}
    train(plan, seconds_per_batch=0.01, logs=logs, monitored=("val_roc_auc", "val_loss"))
    shown = "loss 0.5000  accuracy 0.2500  val_top1 0.7500  val_roc_auc 0.8750  500 images/s"
    begins = ["epoch 1/3  step 10/25", "epoch 2/3  step 20/25", "epoch 3/3  step 25/25"]
    assert [message.split(f"  {shown}")[0] for message in caplog.messages] == begins


def test_the_last_step_of_an_epoch_is_shown_over_all_ranks_only(plan, caplog):
    # It may hold padding: the loss of one rank would jump.
    caplog.set_level(logging.INFO, "hvd_imgcls")
    train(plan, seconds_per_batch=10, logs={"loss": 0.5})
    # 20 batches in an epoch, two of them in a step: a line for each of 18, and one for the end.
    lines = [line for line in caplog.messages if line.startswith("epoch 2/3")]
    assert [line.split("  ")[1] for line in lines[-3:]] == [f"step {n}/25" for n in (18, 19, 20)]
    assert len(lines) == 19


def test_progress_of_a_slow_run_says_speed_and_time_left(plan, caplog):
    caplog.set_level(logging.INFO, "hvd_imgcls")
    train(plan, seconds_per_batch=1, logs={"loss": 0.5})
    # A line every 3 of 50 seconds, one more for the end.
    assert 15 <= len(caplog.messages) <= 18
    expected = "epoch 1/3  step 4/25  loss 0.5000  5 images/s  41 s left  waiting: data 0 %"
    assert expected in caplog.messages


def test_progress_writes_one_line_of_metrics_per_epoch(plan, tmp_path):
    path = tmp_path / "metrics.jsonl"
    train(
        plan,
        seconds_per_batch=0.01,
        logs={"loss": float("nan"), "val_rows": np.array([0.5, np.inf])},
        metrics_path=path,
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 10), (2, 20), (3, 25)]
    # The first batch of all traces: it is in no number.
    assert [line["seconds"] for line in lines] == [0.19, 0.2, 0.1]
    last = lines[-1]
    assert last["peak_memory_bytes"] > 2**20
    del last["seconds"], last["peak_memory_bytes"], last["epoch"], last["step"]
    assert last == {
        "loss": None,
        "val_rows": [0.5, None],
        "learning_rate": 0.25,
        "images_per_second": 500.0,
        "data_wait_share": 0.0,
        "rank_wait_share": 0.0,
        "slowest_rank": 0,
    }


def test_record_holds_the_whole_training(plan):
    record = train(plan, seconds_per_batch=0.01, logs={})
    assert (record.num_steps, record.num_skipped_steps) == (25, 0)
    assert record.training_seconds == pytest.approx(0.5)
    assert [epoch.num_images for epoch in record.epochs] == [95, 100, 50]
    assert record.images_per_second() == pytest.approx(500)


def test_updates_that_the_optimizer_did_not_make_are_skipped_steps(plan, monkeypatch):
    monkeypatch.setattr(Optimizer, "iterations", -3)
    record = train(plan, seconds_per_batch=0.01, logs={})
    assert record.num_skipped_steps == 0
    monkeypatch.setattr(Optimizer, "iterations", property(lambda self: 7, lambda self, value: None))
    assert train(plan, seconds_per_batch=0.01, logs={}).num_skipped_steps == 25


def test_steps_that_were_held_back_are_skipped_steps(plan):
    record = train(plan, seconds_per_batch=0.01, logs={"skipped_steps": 4})
    assert record.num_skipped_steps == 4


class SlowBatches(keras.utils.PyDataset):
    """Batches that take 20 ms to make."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        time.sleep(0.02)
        return np.zeros([5, 3], np.float32), np.zeros([5, 2], np.float32)


def test_fit_that_waits_for_its_data_says_so_and_gets_its_step_function_back(plan):
    import tensorflow as tf

    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    first, batches = [], SlowBatches()
    spec = tf.TensorSpec([5, 3], tf.float32), tf.TensorSpec([5, 2], tf.float32)
    dataset = tf.data.Dataset.from_generator(
        lambda: (batches[i] for i in range(10)), output_signature=spec
    ).repeat()
    record, count = Record(), CountBatches(plan)
    progress = Progress(
        plan,
        count.position,
        record,
        distributed.start(),
        output=ProgressOutput(on_first_batch=first.append),
    )
    model.fit(dataset, epochs=2, steps_per_epoch=20, callbacks=[count, progress], **QUIETLY)
    assert [part.shape for part in first[0]] == [(5, 3), (5, 2)]
    assert len(first) == 1
    assert record.times().data_share > 0.6
    assert record.times().rank_share == 0
    # A later training without this callback is not measured.
    share = record.times().data_share
    model.fit(dataset, steps_per_epoch=3, **QUIETLY)
    assert record.times().data_share == share


def test_stop_after_steps_stops_at_the_last_step_and_not_before(plan):
    position = Position(plan.gradient_accumulation_steps)
    callback = StopAfterSteps(plan, position)
    callback.set_model(SimpleNamespace(stop_training=False))
    stopped = []
    for batch in range(50):
        position.end_batch()
        callback.on_train_batch_end(batch)
        stopped.append(callback.model.stop_training)
    assert stopped.index(True) == 49
