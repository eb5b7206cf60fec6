"""Loading, broadcasting and sparse models as Horovod's own tests of its Keras modules ask."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


def load_and_train(directory):
    """Facts about models that are loaded in each of Horovod's ways."""
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
    loaded = {}
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

        def load(model=model, path=path, keywords=keywords, name=name):
            again = hvd.load_model(path, **keywords)
            loaded[name] = (
                again.optimizer.__class__.__name__,
                synchronizer_of(again.optimizer) is not None,
                float(again.optimizer.learning_rate.numpy()),
                all(
                    (a.numpy() == b.numpy()).all()
                    for a, b in zip(
                        model.optimizer.variables, again.optimizer.variables, strict=True
                    )
                ),
            )

        loaded[f"{name}, error"] = message_of(load)
    return loaded


def broadcast_from_last(directory):
    """A root that has loaded a file, ranks that have not, and local variables."""
    import keras

    import hvd_imgcls.keras as hvd

    rank, last = hvd.rank(), hvd.size() - 1

    def make():
        constant = keras.initializers.Constant(rank)
        layers = [
            keras.layers.Dense(3, kernel_initializer=constant, bias_initializer=constant)
            for _ in range(3)
        ]
        for layer in layers:
            layer.trainable = False
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile("sgd", loss="mse")
        return model

    model = make()
    local = list(model.layers[0].variables)
    callback = hvd.callbacks.BroadcastGlobalVariablesCallback(last, local_variables=local)
    model.fit(np.ones((1, 3)), np.ones((1, 3)), verbose=0, callbacks=[callback])
    frozen = [float(v.numpy().ravel()[0]) for v in model.variables[:6]]

    def compiled():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        model.compile(hvd.DistributedOptimizer(optimizer), loss="mse")
        return model

    path = f"{directory}/root.keras"
    model = compiled()
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=callbacks)
    if rank == 0:
        model.save(path)
    hvd.barrier()
    again = hvd.load_model(path) if rank == 0 else compiled()
    same = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    again.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=same)
    state = [v.numpy().tolist() for v in [*again.variables, *again.optimizer.variables]]
    return frozen, state, int(again.optimizer.iterations.numpy())


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


def loaded_broadcast_and_sparse(directory):
    return load_and_train(directory), broadcast_from_last(directory), embeddings()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("horovods_keras")
    arguments = [str(directory)]
    return run_on_ranks(loaded_broadcast_and_sparse, arguments=arguments, timeout_seconds=150)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_models_are_loaded_in_each_of_horovods_ways(models):
    for loaded, _, _ in models:
        for name in ("plain", "custom_optimizers", "custom_objects", "wrapped"):
            assert loaded[f"{name}, error"] is None
            kind, is_wrapped, rate, is_same = loaded[name]
            assert kind == ("RMSprop" if name == "plain" else "Own")
            assert is_wrapped
            assert is_same
            assert rate == pytest.approx(0.0001)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_root_of_the_broadcast_may_be_the_last_rank_or_have_loaded_a_file(models):
    for rank, (_, (frozen, state, iterations), _) in enumerate(models):
        assert frozen == [float(rank)] * 2 + [1.0] * 4
        assert state == models[0][1][1]
        assert iterations == 2


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_sparse_models_and_configurations_of_optimizers(models):
    (_, _, first), (_, _, second) = models
    assert first == second
    assert (first[1][1], first[2][1]) == (3, 1)
    assert first["config"] == [True, True]
    assert "pass those after `op` by name" in first["positions"]
