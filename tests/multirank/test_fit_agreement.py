"""Data and validation of `fit` that differ between ranks: one error, or the right metrics."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


def batches(number, value=1.0):
    for _ in range(number):
        yield np.full((4, 2), value, np.float32), np.zeros((4, 1), np.float32)


def make_model(steps_per_execution=1):
    import keras

    import hvd_imgcls.keras as hvd

    ones = keras.initializers.Ones()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer=ones)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.0))
    model.compile(optimizer, loss="mse", steps_per_execution=steps_per_execution)
    return model


def several_steps_per_execution():
    """Results of generators of several lengths, three batches per execution."""
    import hvd_imgcls.keras as hvd

    def fit(number, epochs=1, repeated=False):
        model = make_model(3)
        data = batches(number)
        if repeated:  # a generator that gives `number` batches in every epoch
            data = dataset(number)
        callbacks = [
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
        ]
        history = model.fit(data, epochs=epochs, verbose=0, callbacks=callbacks).history
        return int(model.optimizer.iterations.numpy()), len(history["loss"])

    def dataset(number):
        import tensorflow as tf

        shape = (tf.TensorSpec([None, 2]), tf.TensorSpec([None, 1]))
        return tf.data.Dataset.from_generator(lambda: batches(number), output_signature=shape)

    rank = hvd.rank()
    return {
        "equal": [fit(number) for number in (2, 3, 5, 6)],
        "two epochs": fit(4, epochs=2, repeated=True),
        "within an execution": message_of(lambda: fit(4 + rank)),
        "an execution more": message_of(lambda: fit(3 + 3 * rank)),
        "after an error": fit(4),
    }


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_generators_of_other_lengths_with_several_steps_per_execution():
    root, other = run_on_ranks(several_steps_per_execution, timeout_seconds=60)
    assert root == other
    assert root["equal"] == [(2, 1), (3, 1), (5, 1), (6, 1)]
    assert root["two epochs"] == (8, 2)
    assert root["after an error"] == (4, 1)
    for case, text in {
        "within an execution": "4 on rank 0, 5 on rank 1",
        "an execution more": "3 on rank 0, more than 5 on rank 1",
    }.items():
        assert text in root[case], case
        assert "e.g. with steps_per_epoch" in root[case]


def validating_ranks():
    """What comes of validation data that only one rank has, and of parts of other lengths."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls import distributed

    rank = hvd.rank()
    part = next(batches(1))

    def fit(own, validation_data, **keywords):
        callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), *own]
        history = make_model().fit(
            *part,
            epochs=2,
            verbose=0,
            validation_data=validation_data,
            callbacks=hvd.callbacks.rank_safe(callbacks),
            **keywords,
        )
        return history.history

    results = {}
    for name, make in {
        "MetricAverageCallback": hvd.callbacks.MetricAverageCallback,
        "AverageMovingStatisticsCallback": hvd.callbacks.AverageMovingStatisticsCallback,
        "EarlyStopping": lambda: keras.callbacks.EarlyStopping(monitor="loss"),
    }.items():
        results[name] = message_of(lambda make=make: fit([make()], part if rank == 1 else None))
        distributed.current().barrier()
    average = hvd.callbacks.MetricAverageCallback
    results["second epoch"] = message_of(lambda: fit([average()], part, validation_freq=1 + rank))
    results["alone"] = message_of(lambda: fit([], part if rank == 0 else None))
    # Predictions are 2 + 2 * rank: one batch with a loss of 4, three with one of 16.
    own = batches(1 + 2 * rank, 1.0 + rank)
    results["lengths"] = fit([average()], own, validation_freq=2)
    return results


@pytest.mark.ranks(2)
def test_validation_on_one_rank_is_one_error_and_parts_may_differ():
    root, other = run_on_ranks(validating_ranks, timeout_seconds=60)
    for case in ("MetricAverageCallback", "AverageMovingStatisticsCallback", "EarlyStopping"):
        assert root[case] == other[case]
        assert "validation in epoch 1: no on rank 0, yes on rank 1" in root[case], case
        assert "pass validation_data" in root[case]
    assert "validation in epoch 1: yes on rank 0, no on rank 1" in root["second epoch"]
    assert root["alone"] == other["alone"] is None
    assert root["lengths"]["val_loss"] == other["lengths"]["val_loss"] == [(4 + 3 * 16) / 4]
