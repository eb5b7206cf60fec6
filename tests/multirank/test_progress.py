"""Who waits for whom: two ranks, one of them made slow."""

from __future__ import annotations

import time

import pytest

from tests.support.counting import CountBatches
from tests.support.launch import run_on_ranks

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""
STEPS_PER_EPOCH = 15
PAUSE = 0.06
METRICS = {"top1": 1.0, "loss": 0.0, "num_correct": 1, "num_examples": 1}


def train(what_is_slow, accumulation_steps):
    """Trains a tiny model with a pause on rank 1 in every batch; returns the summary."""
    import keras
    import numpy as np
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls import distributed
    from hvd_imgcls.config import parse_config
    from hvd_imgcls.plan import make_plan
    from hvd_imgcls.workflows.progress import Progress, ProgressOutput, Record
    from hvd_imgcls.workflows.progress.summary import describe_run, summarize

    ranks = distributed.current()
    is_slow = ranks.topology.rank == 1
    overrides = f", gradient_accumulation_steps: {accumulation_steps}}}"
    plan = make_plan(
        parse_config(PIPELINE.rstrip().removesuffix("}") + overrides, origin="x.yaml"),
        num_train_examples=8 * STEPS_PER_EPOCH,
        num_held_out_examples=4,
        num_classes=2,
        topology=ranks.topology,
    )

    def wait(values):
        time.sleep(PAUSE)
        return values

    class Pause(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(PAUSE)

    shape = [plan.per_rank_batch_size, 3]
    dataset = tf.data.Dataset.from_tensors((tf.zeros(shape), tf.zeros([shape[0], 2]))).repeat()
    if is_slow and what_is_slow == "data":
        dataset = dataset.map(
            lambda x, y: (tf.ensure_shape(tf.numpy_function(wait, [x], tf.float32), shape), y)
        )
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile(
        hvd.DistributedOptimizer(
            keras.optimizers.SGD(0.1), backward_passes_per_step=accumulation_steps
        ),
        "mse",
    )
    record = Record()
    count = CountBatches(plan)
    callbacks = [
        count,
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        Progress(plan, count.position, record, ranks, output=ProgressOutput()),
    ]
    if is_slow and what_is_slow == "computing":
        callbacks.append(Pause())
    model.fit(
        dataset,
        epochs=2,
        steps_per_epoch=plan.batches_per_epoch,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,
    )
    assert np.isfinite(record.training_seconds)
    summary = summarize(record, METRICS, num_bad_images=0)
    return summary, describe_run(summary)


@pytest.mark.ranks(2)
@pytest.mark.parametrize(("what_is_slow", "steps"), [("computing", 1), ("data", 2)])
def test_summary_names_the_slow_rank_and_the_other_waits_for_it(what_is_slow, steps):
    results = run_on_ranks(train, arguments=[what_is_slow, steps])
    # Every rank knows the same, so that none need ask; what is measured differs a little.
    (summary, lines), (other, _) = results
    assert summary["ranks"] == other["ranks"]
    waiting, slow = summary["ranks"]
    # Rank 0 waits while rank 1 pauses, that is in all batches but the one that traces; less what
    # it computes meanwhile, more what rank 1 computes longer. The machine may be busy.
    pauses = (2 * STEPS_PER_EPOCH * steps - 1) * PAUSE
    assert 0.6 * pauses < waiting["rank_wait_share"] * waiting["seconds"] < 1.3 * pauses
    assert waiting["rank_wait_share"] > 0.5
    assert slow["rank_wait_share"] < 0.2
    assert summary["slowest_rank"] == 1
    assert any(line.endswith("slowest: rank 1") for line in lines)
    if what_is_slow == "data":
        assert slow["data_wait_share"] > 0.5
    assert waiting["data_wait_share"] < 0.2
