"""The seam for ways of keeping ranks in step, with a mode that leaves them apart for a while."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

RATE, NUM_STEPS = 0.1, 3


def make_data(rank):
    random = np.random.default_rng(rank)
    return (
        random.normal(size=(NUM_STEPS, 4, 2)).astype(np.float32),
        random.normal(size=(NUM_STEPS, 4, 1)).astype(np.float32),
    )


def wrapped(model):
    import keras

    from hvd_imgcls.keras.optimizer.distributed_optimizer import wrap
    from hvd_imgcls.keras.synchronization.settings import ReductionSettings, SynchronizerSettings
    from hvd_imgcls.keras.synchronization.synchronizer import Synchronizer
    from tests.support.modes import AverageEverySecond

    settings = SynchronizerSettings(
        reduction=ReductionSettings(), check_every_steps=1, skip_non_finite=True
    )
    optimizer = wrap(keras.optimizers.SGD(RATE), Synchronizer(settings, AverageEverySecond))
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def small_model():
    import keras

    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])


def train(bad_rank):
    """Trains one epoch; returns weights before and after its end, and the state."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    rank, seen = hvd.rank(), []
    x, y = make_data(rank)
    if rank == bad_rank:
        x[1] = np.nan
    model = wrapped(small_model())

    class See(keras.callbacks.Callback):
        is_collective = True

        def on_train_batch_end(self, batch, logs=None):
            seen.append([np.array(w) for w in self.model.get_weights()])

    non_finite = hvd.callbacks.NonFiniteCallback("skip")
    model.fit(
        x.reshape(-1, 2),
        y.reshape(-1, 1),
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), non_finite, See()],
    )
    synchronizer = synchronizer_of(model.optimizer)
    state = synchronizer.state(model.optimizer)
    other = wrapped(small_model())
    synchronizer_of(other.optimizer).start(other.optimizer, other.trainable_variables)
    synchronizer_of(other.optimizer).restore(other.optimizer, state)
    return {
        "steps": seen,
        "end": [np.array(w) for w in model.get_weights()],
        "state": state,
        "restored": synchronizer_of(other.optimizer).state(other.optimizer),
        "skipped": non_finite.num_skipped,
    }


def local_step(kernel, bias, x, y):
    error = x @ kernel + bias - y
    gradient = 2 * error / len(x)
    return kernel - RATE * x.T @ gradient, bias - RATE * gradient.sum(axis=0)


@pytest.mark.ranks(2)
def test_a_mode_decides_when_the_ranks_are_equal():
    results = run_on_ranks(train, arguments=[None])
    weights = [(np.ones((2, 1), np.float32), np.zeros(1, np.float32))] * 2
    for step in range(NUM_STEPS):
        data = [make_data(rank) for rank in range(2)]
        weights = [local_step(*weights[r], data[r][0][step], data[r][1][step]) for r in range(2)]
        if step == 1:
            weights = [tuple(np.mean(pair, axis=0) for pair in zip(*weights, strict=True))] * 2
        for result, expected in zip(results, weights, strict=True):
            for got, wanted in zip(result["steps"][step], expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    first, second = results
    assert (first["steps"][2][0] != second["steps"][2][0]).any(), "apart before the epoch ends"
    for a, b in zip(first["end"], second["end"], strict=True):
        np.testing.assert_array_equal(a, b)
    for result in results:
        assert result["state"]["mode"] == {"num_averaged": 2}
        assert result["state"]["comparison"]["updates"] == NUM_STEPS
        assert result["restored"] == result["state"]


@pytest.mark.ranks(2)
def test_an_update_that_is_not_finite_on_one_rank_is_skipped_on_both():
    results = run_on_ranks(train, arguments=[1])
    for result in results:
        assert result["skipped"] == 1
        assert all(np.isfinite(w).all() for step in result["steps"] for w in step)
