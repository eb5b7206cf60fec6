"""What Horovod's own tests of its Keras modules ask, in the terms of Keras 3."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks

PASSES, STEPS = 4, 10


def make_adding_optimizer():
    """Returns an optimizer that adds gradients to variables, so that updates can be read."""
    import keras

    class Adding(keras.optimizers.Optimizer):
        def __init__(self, learning_rate=1.0, **keywords):
            super().__init__(learning_rate=learning_rate, **keywords)

        def update_step(self, gradient, variable, learning_rate):
            variable.assign_add(gradient)

    return Adding()


def accumulate(average, num_local):
    """Variables after each of some passes, dense and sparse, the first ones local.

    The gradient is 1 for the dense variables and -(1 + rank) for the first row of the others.
    """
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    optimizer = hvd.DistributedOptimizer(
        make_adding_optimizer(),
        backward_passes_per_step=PASSES,
        average_aggregated_gradients=average,
        sparse_as_dense=True,
    )
    dense = [tf.Variable([0.0]) for _ in range(4)]
    sparse = [tf.Variable([1.0, 2.0]) for _ in range(4)]
    for variable in [*dense[:num_local], *sparse[:num_local]]:
        optimizer.register_local_var(variable)
    optimizer.build([*dense, *sparse])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            rows = [tf.gather(variable, [0]) for variable in sparse]
            own = 1.0 + hvd.rank()
            loss = tf.add_n([x - own * row for x, row in zip(dense, rows, strict=True)])
        variables = [*dense, *sparse]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    history = []
    for _ in range(STEPS):
        step()
        history.append([[v.numpy().tolist() for v in group] for group in (dense, sparse)])
    return history, int(optimizer.iterations.numpy())


def infinite_then_finite():
    """The value after a cycle of passes with an infinite gradient and one without."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    optimizer = hvd.DistributedOptimizer(
        make_adding_optimizer(), backward_passes_per_step=2, check_every_steps=0
    )
    variable = tf.Variable(0.0)
    values = []
    for gradient in (np.inf, 1.0, 1.0, 1.0):
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), variable)])
        values.append(float(variable.numpy()))
        if not np.isfinite(values[-1]):
            variable.assign(0.0)
    return values


def accumulated_over_passes():
    return {
        **{
            (average, num_local): accumulate(average, num_local)
            for average in (False, True)
            for num_local in (0, 2)
        },
        "infinite": infinite_then_finite(),
    }


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_passes_are_accumulated_with_local_variables_and_without():
    for rank, results in enumerate(run_on_ranks(accumulated_over_passes, timeout_seconds=90)):
        assert results.pop("infinite") == [0.0, np.inf, 0.0, 2.0]
        for (average, num_local), (history, iterations) in results.items():
            assert iterations == STEPS // PASSES  # updates; Horovod counts passes
            for step, (dense, sparse) in enumerate(history):
                change = ((step + 1) // PASSES) * (1 if average else PASSES)
                for index in range(4):
                    is_local = index < num_local
                    # Local gradients are divided by the number of ranks.
                    own = (1.0 + rank) / 2 if is_local else 1.5
                    expected = change * (0.5 if is_local else 1.0)
                    np.testing.assert_allclose(dense[index], [expected])
                    np.testing.assert_allclose(sparse[index], [1.0 - change * own, 2.0])


def fit_with_schedules():
    """Learning rates by epoch, and losses."""
    import keras

    import hvd_imgcls.keras as hvd

    first_rate, callbacks = 0.1 * hvd.size(), hvd.callbacks
    rates = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate.numpy()))
    )
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.RepeatVector(3)]
    )
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam())
    model.compile(optimizer, loss="mse", metrics=["categorical_accuracy"])

    def schedule(multiplier, start, end):
        return callbacks.LearningRateScheduleCallback(
            initial_lr=first_rate, multiplier=multiplier, start_epoch=start, end_epoch=end
        )

    history = model.fit(
        np.random.default_rng(hvd.rank()).random((10, 3)),
        np.ones((10, 3, 2)),
        steps_per_epoch=5,
        batch_size=2,
        epochs=20,
        verbose=0,
        callbacks=[
            callbacks.BroadcastGlobalVariablesCallback(0),
            callbacks.MetricAverageCallback(),
            callbacks.LearningRateWarmupCallback(initial_lr=first_rate, warmup_epochs=5),
            schedule(0.1, 5, 10),
            schedule(0.01, 10, 15),
            schedule(lambda epoch: epoch, 15, 20),
            keep,
        ],
    )
    return rates, history.history["loss"]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_warmup_and_schedules_follow_each_other_in_one_fit():
    (rates, losses), (other_rates, other_losses) = run_on_ranks(fit_with_schedules)
    assert rates == other_rates
    assert losses == other_losses
    warmed_up = [0.1 * (1 + epoch / 5) for epoch in range(1, 6)]
    np.testing.assert_allclose(rates[:5], warmed_up, rtol=1e-6)
    np.testing.assert_allclose(rates[5:10], [0.2 * 0.1**n for n in range(5)], rtol=1e-5)
    np.testing.assert_allclose(rates[10:15], [0.2 * 0.01**n for n in range(5)], rtol=1e-5)
    np.testing.assert_allclose(rates[15:], [0.2 * epoch for epoch in range(15, 20)], rtol=1e-6)


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
