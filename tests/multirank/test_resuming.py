"""Resuming as Horovod's example does: the root loads a file, the other ranks build anew."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


def train_and_save(directory):
    """Trains on the root alone and saves; the values of the saved state."""
    import h5py
    import keras

    import hvd_imgcls.keras as hvd

    def layers():
        return [keras.layers.Dense(2, activation="relu"), keras.layers.Dense(1)]

    def functional():
        inputs = keras.Input((3,))
        outputs = inputs
        for layer in layers():
            outputs = layer(outputs)
        return keras.Model(inputs, outputs)

    makers = {
        "sequential": lambda: keras.Sequential([keras.Input((3,)), *layers()]),
        "functional": functional,
    }
    x = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)

    def resume(kind, opened):
        """As Horovod's example: only the root loads, all others build."""
        path = f"{directory}/{kind}.h5"
        if hvd.rank() == 0:
            if opened:
                with h5py.File(path, "r") as file:
                    model = hvd.load_model(file)
            else:
                model = hvd.load_model(path)
        else:
            model = makers[kind]()
            model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.05)), loss="mse")
        callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
        model.fit(x, x[:, :1], batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
        return [v.numpy() for v in [*model.trainable_variables, *model.optimizer.variables]]

    expected, results = {}, {}
    for kind, make in makers.items():
        if hvd.rank() == 0:
            model = make()
            model.compile(keras.optimizers.Adam(0.01), loss="mse")
            model.fit(x, x[:, :1], batch_size=4, shuffle=False, verbose=0)
            model.save(f"{directory}/{kind}.h5")
            model.fit(x, x[:, :1], batch_size=4, shuffle=False, verbose=0)
            expected[kind] = [
                v.numpy() for v in [*model.trainable_variables, *model.optimizer.variables]
            ]
        hvd.barrier()
        results[kind] = [resume(kind, opened) for opened in (False, True)]
    return expected, results


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_a_root_that_loads_h5_alone_continues_with_the_whole_state(tmp_path):
    (expected, first), (_, second) = run_on_ranks(
        train_and_save, arguments=[str(tmp_path)], timeout_seconds=90
    )
    for kind, values in expected.items():
        for resumed in (*first[kind], *second[kind]):
            assert len(resumed) == len(values) == 4 + 2 + 8
            for actual, wanted in zip(resumed, values, strict=True):
                np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6)


def load_on_the_root_after_compiling(directory):
    """Every rank compiles, then the root alone loads: the numbers of optimizers must not differ.

    If the other ranks have also trained, the root's new optimizer is an error on all ranks.
    """
    import keras

    import hvd_imgcls.keras as hvd

    x = np.ones((4, 2), np.float32)
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]

    def make():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
        return model

    def fit(model):
        model.fit(x, x[:, :1], verbose=0, callbacks=callbacks)
        return [v.numpy() for v in model.variables]

    make().save(f"{directory}/model-{hvd.rank()}.keras")
    model = make()
    if hvd.rank() == 0:
        model = hvd.load_model(f"{directory}/model-0.keras")
    weights = fit(model)
    if hvd.rank() == 0:
        model = hvd.load_model(f"{directory}/model-0.keras")
    return weights, message_of(lambda: fit(model))


@pytest.mark.ranks(2)
def test_optimizers_are_numbered_when_they_are_used(tmp_path):
    (first, message), (second, other_message) = run_on_ranks(
        load_on_the_root_after_compiling, arguments=[str(tmp_path)], timeout_seconds=60
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert message == other_message
    assert "optimizer.history: new on rank 0, number " in message
