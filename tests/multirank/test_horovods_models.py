"""Models and their layers as Horovod's own tests of its Keras modules ask."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


def load_and_train(directory):
    """Facts about the optimizer of a model that is loaded in each of Horovod's ways."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    class Own(keras.optimizers.RMSprop):
        pass

    def make(optimizer):
        layers = [keras.layers.Dense(2), keras.layers.RepeatVector(3)]
        top = keras.layers.TimeDistributed(keras.layers.Dense(3))
        model = keras.Sequential([keras.Input((3,)), *layers, top])
        model.compile(hvd.DistributedOptimizer(optimizer), loss="mse")
        return model

    x, y = np.ones((1, 3)) * (1 + hvd.rank()), np.ones((1, 3, 3))
    facts = {}
    for name, keywords in {
        "plain": {},
        "custom_optimizers": {"custom_optimizers": [Own]},
        "custom_objects": {"custom_objects": {"Own": Own}},
        "wrapped": {
            "custom_objects": {"Own": lambda **config: hvd.DistributedOptimizer(Own(**config))}
        },
    }.items():
        model = make((keras.optimizers.RMSprop if name == "plain" else Own)(0.0001))
        hvd.broadcast_variables(model.variables, 0)
        model.train_on_batch(x, y)
        path = f"{directory}/{name}-{hvd.rank()}.keras"
        model.save(path)
        loaded = hvd.load_model(path, **keywords).optimizer
        states = [[v.numpy().tolist() for v in o.variables] for o in (model.optimizer, loaded)]
        facts[name] = {
            "kind": loaded.__class__.__name__,
            "is wrapped": synchronizer_of(loaded) is not None,
            "rate": float(loaded.learning_rate.numpy()),
            "is same": states[0] == states[1],
        }
    return facts


def broadcast_from_last():
    """Values of a model without trainable layers, whose first layer is local."""
    import keras

    import hvd_imgcls.keras as hvd

    constant = keras.initializers.Constant(hvd.rank())
    keywords = {"kernel_initializer": constant, "bias_initializer": constant, "trainable": False}
    layers = [keras.layers.Dense(3, **keywords) for _ in range(3)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", loss="mse")
    callback = hvd.callbacks.BroadcastGlobalVariablesCallback(
        hvd.size() - 1, local_variables=list(layers[0].variables)
    )
    model.fit(np.ones((1, 3)), np.ones((1, 3)), verbose=0, callbacks=[callback])
    return [float(variable.numpy().ravel()[0]) for variable in model.variables[:6]]


def train_what_the_root_loads(directory):
    """State of a model and its optimizer that only the root has loaded, after an epoch more."""
    import keras

    import hvd_imgcls.keras as hvd

    def make():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        model.compile(hvd.DistributedOptimizer(optimizer), loss="mse")
        return model

    def fit(model):
        callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=callbacks)

    path, model = f"{directory}/root.keras", make()
    fit(model)
    if hvd.rank() == 0:
        model.save(path)
    hvd.barrier()
    model = hvd.load_model(path) if hvd.rank() == 0 else make()
    fit(model)
    state = [v.numpy().tolist() for v in [*model.variables, *model.optimizer.variables]]
    return state, int(model.optimizer.iterations.numpy())


def embeddings():
    """Weights of sparse models that were trained batch by batch, and what configures them."""
    import keras

    import hvd_imgcls.keras as hvd

    random = np.random.default_rng(hvd.rank())
    results = {}
    for passes in (1, 2):
        keras.utils.set_random_seed(1)
        optimizer = hvd.DistributedOptimizer(
            keras.optimizers.RMSprop(0.0001), sparse_as_dense=True, backward_passes_per_step=passes
        )
        model = keras.Sequential([keras.Input((10,)), keras.layers.Embedding(100, 4)])
        model.compile(optimizer, loss="mse")
        for _ in range(3):
            model.train_on_batch(random.integers(100, size=(8, 10)), random.random((8, 10, 4)))
        iterations = int(optimizer.iterations.numpy())
        results[passes] = (model.get_weights()[0].sum().item(), iterations)
    config = optimizer.get_config()
    results["config"] = [
        optimizer.from_config(config).get_config() == config,
        optimizer.__class__.from_config(config).get_config() == config,
    ]
    too_many = [None, "", "", hvd.Compression.none, False, 1.0, hvd.Sum, None]
    results["positions"] = message_of(
        lambda: hvd.PartialDistributedOptimizer(keras.optimizers.SGD(), *too_many)
    )
    return results


def all_results(directory):
    return {
        "loaded": load_and_train(directory),
        "from last": broadcast_from_last(),
        "from root": train_what_the_root_loads(directory),
        "sparse": embeddings(),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = tmp_path_factory.mktemp("horovods_models")
    return run_on_ranks(all_results, arguments=[str(directory)], timeout_seconds=150)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_models_are_loaded_in_each_of_horovods_ways(results):
    for result in results:
        assert len(result["loaded"]) == 4
        for name, facts in result["loaded"].items():
            assert facts["kind"] == ("RMSprop" if name == "plain" else "Own")
            assert facts["is wrapped"]
            assert facts["is same"]
            assert facts["rate"] == pytest.approx(0.0001)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_root_of_the_broadcast_may_be_the_last_rank_or_have_loaded_a_file(results):
    for rank, result in enumerate(results):
        assert result["from last"] == [float(rank)] * 2 + [1.0] * 4
        state, iterations = result["from root"]
        assert state == results[0]["from root"][0]
        assert iterations == 2


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_sparse_models_and_configurations_of_optimizers(results):
    first, second = (result["sparse"] for result in results)
    assert first == second
    assert (first[1][1], first[2][1]) == (3, 1)
    assert first["config"] == [True, True]
    assert "pass those after `op` by name" in first["positions"]


def normalise_columns():
    """Outputs and moving statistics of columns along axis 1, synchronised and plain."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    results = []
    for width in (1, 2):
        x = np.array(
            [[[r * n + c for c in range(width)] for n in range(1, 5)] for r in range(hvd.size())],
            np.float32,
        )
        layer = hvd.SyncBatchNormalization(axis=1)
        plain = keras.layers.BatchNormalization(axis=1)
        own = layer(tf.constant(x[hvd.rank()][None]), training=True)
        whole = plain(tf.constant(x), training=True)
        results.append((own[0].numpy(), whole[hvd.rank()].numpy()))
        for name in ("moving_mean", "moving_variance"):
            results.append(tuple(getattr(one, name).numpy() for one in (layer, plain)))
    return results


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_columns_are_normalised_as_in_the_whole_batch():
    for pairs in run_on_ranks(normalise_columns, timeout_seconds=60):
        for own, expected in pairs:
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)
