"""Callbacks on real ranks: broadcast before the first step, exact metrics, rates."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def fit_unequal_models(kind):
    """Starts every rank from other weights; returns those before the first step and after."""
    import keras

    import hvd_imgcls.keras as hvd

    layers = [keras.layers.Dense(3), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    if kind != "built by the first batch":
        layers.insert(0, keras.Input((3,)))
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    if kind == "frozen":
        model.trainable = False
        model.compile(loss="mse")
    else:
        model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)), loss="mse")
    if kind == "optimizer state of the root":
        model.optimizer.build(model.trainable_variables)
        model.optimizer.variables[2].assign(model.optimizer.variables[2] + 1.0 + hvd.rank())
        model.optimizer.learning_rate = 0.01 + 0.01 * hvd.rank()
    x = np.ones((4, 3), np.float32) * (1 + hvd.rank())
    seeds = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seeds.append([v.numpy().tolist() for v in model.variables if "seed" in v.name])

    model.fit(
        x,
        x[:, :1],
        batch_size=2,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(1), Watch()],
    )
    return {
        "trainable": [v.numpy() for v in model.trainable_variables],
        "weights": [v.numpy() for v in model.variables if "seed" not in v.name],
        "state": [v.numpy() for v in model.optimizer.variables],
        "seeds": seeds[-1],
        "rate": float(model.optimizer.learning_rate.numpy()),
    }


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    "kind", ["built", "built by the first batch", "optimizer state of the root"]
)
def test_all_ranks_take_their_first_step_from_the_root_state(kind):
    first, second = run_on_ranks(fit_unequal_models, arguments=[kind])
    for key in ("trainable", "state"):
        for a, b in zip(first[key], second[key], strict=True):
            np.testing.assert_array_equal(a, b)
    assert first["seeds"] != second["seeds"]  # dropout masks differ between ranks
    expected_rate = 0.02 if kind == "optimizer state of the root" else 0.01
    assert first["rate"] == second["rate"] == pytest.approx(expected_rate)


@pytest.mark.ranks(2)
def test_a_model_without_trainable_weights_is_broadcast_too():
    first, second = run_on_ranks(fit_unequal_models, arguments=["frozen"])
    for a, b in zip(first["weights"][:2], second["weights"][:2], strict=True):
        np.testing.assert_array_equal(a, b)


def broadcast_with_local_variables():
    import keras

    import hvd_imgcls.keras as hvd

    value = keras.initializers.Constant(hvd.rank())
    layer = {"kernel_initializer": value, "bias_initializer": value, "trainable": False}
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3, **layer) for _ in "abc")])
    model.compile(loss="mse")
    model.fit(
        np.ones((2, 3)),
        np.ones((2, 3)),
        verbose=0,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(
                root_rank=hvd.size() - 1, local_variables=model.layers[0].variables
            )
        ],
    )
    return [float(v.numpy().mean()) for v in model.variables]


@pytest.mark.ranks(2)
def test_local_variables_keep_their_own_value():
    for rank, values in enumerate(run_on_ranks(broadcast_with_local_variables)):
        assert values == [rank, rank, 1, 1, 1, 1]


def metrics_of_unequal_parts():
    """Rank 0 has 5 examples a batch, rank 1 has 3; returns what the callbacks left in logs."""
    import keras

    import hvd_imgcls.keras as hvd

    random = np.random.default_rng(3)
    x = random.normal(size=(32, 4)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=32) > 0).astype(np.float32)
    share = 5 if hvd.rank() == 0 else 3
    rows = np.arange(32).reshape(4, 8)[:, :5] if hvd.rank() == 0 else None
    rows = np.arange(32).reshape(4, 8)[:, 5:] if rows is None else rows
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(
        hvd.DistributedOptimizer(keras.optimizers.SGD(0.0)),
        loss="binary_crossentropy",
        metrics=["accuracy", "auc", "precision", "recall", keras.metrics.F1Score(threshold=0.5)],
    )
    hvd.broadcast_variables(model.variables, 0)
    mine = x[rows.ravel()], y[rows.ravel(), None]
    history = model.fit(
        *mine,
        batch_size=share,
        shuffle=False,
        epochs=2,
        validation_data=mine,
        verbose=0,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
        ],
    )
    model.evaluate(*mine, batch_size=share, verbose=0)
    alone = hvd.callbacks.metrics_over_ranks(model)
    model.reset_metrics()
    return history.history, alone, model.evaluate(x, y[:, None], return_dict=True, verbose=0)


@pytest.mark.ranks(2)
def test_metrics_are_those_of_the_examples_of_all_ranks():
    for history, alone, union in run_on_ranks(metrics_of_unequal_parts):
        for name, value in union.items():
            np.testing.assert_allclose(alone[name], value, rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(history[name][1], value, rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(history[f"val_{name}"][1], value, rtol=1e-5, atol=1e-7)


def fit_with_rates(momentum_correction):
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.4, momentum=0.5)), loss="mse")
    rates, velocities = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(model.optimizer.learning_rate.numpy()))
            if model.optimizer.built:
                velocities.append(model.optimizer.momentums[0].numpy().copy())

        def on_train_batch_end(self, batch, logs=None):
            velocities.append(model.optimizer.momentums[0].numpy().copy())

    history = model.fit(
        np.ones((4, 2), np.float32),
        np.ones((4, 1), np.float32),
        batch_size=2,
        epochs=4,
        verbose=0,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.LearningRateWarmupCallback(
                0.4, warmup_epochs=2, momentum_correction=momentum_correction, verbose=1
            ),
            hvd.callbacks.LearningRateScheduleCallback(
                0.4, 0.1, start_epoch=2, momentum_correction=momentum_correction
            ),
            Watch(),
        ],
    )
    return rates, velocities, history.history["lr"]


@pytest.mark.ranks(2)
@pytest.mark.parametrize("correct", [True, False])
def test_warmup_and_schedule_set_the_rates_of_their_formulas(correct):
    for rates, velocities, logged in run_on_ranks(fit_with_rates, arguments=[correct]):
        # lr / size * (epoch * (size - 1) / 2 + 1), one batch of two ahead; then 0.1 ** n
        expected = [0.25, 0.3, 0.35, 0.4, 0.4, 0.4, 0.04, 0.04]
        np.testing.assert_allclose(rates, expected, rtol=1e-6)
        np.testing.assert_allclose(logged, [0.3, 0.4, 0.4, 0.04], rtol=1e-6)
        ended, began = velocities[0::2], velocities[1::2]
        if len(velocities) % 2 == 0:  # the optimizer was built before the first batch
            ended, began = velocities[1:-1:2], velocities[2::2]
        for batch, (before, after) in enumerate(zip(ended, began, strict=False), start=1):
            factor = expected[batch] / expected[batch - 1] if correct else 1.0
            np.testing.assert_allclose(after, before * factor, rtol=1e-5)


def save_best(directory):
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.01)), loss="mse")
    best = hvd.callbacks.BestModelCheckpoint(monitor="loss")
    best.filepath = f"{directory}/best-{hvd.rank()}.keras"
    model.fit(
        np.ones((4, 2)),
        np.ones((4, 1)),
        verbose=0,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
            best,
        ],
    )


@pytest.mark.ranks(2)
def test_best_model_is_written_by_the_root_alone(tmp_path):
    run_on_ranks(save_best, arguments=[str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["best-0.keras"]


def synchronized_batch_normalization(masked):
    """Returns outputs, moving statistics and input gradients of this rank's rows."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    random = np.random.default_rng(5)
    x = (random.normal(size=(6, 4, 3)) * [1, 2, 3] + 100).astype(np.float32)
    upstream = random.normal(size=x.shape).astype(np.float32)
    mask = random.uniform(size=(6, 4)) > 0.4
    parts = {1: [slice(0, 6)], 2: [slice(0, 4), slice(4, 6)]}[hvd.size()]
    rows = parts[hvd.rank()]
    layer = hvd.SyncBatchNormalization(momentum=0.5)
    layer.build(x.shape)

    @tf.function
    def run(part, part_upstream, part_mask):
        with tf.GradientTape() as tape:
            tape.watch(part)
            out = layer(part, training=True, mask=part_mask if masked else None)
            loss = tf.reduce_sum(out * part_upstream)
        return out, tape.gradient(loss, part)

    out, gradient = run(tf.constant(x[rows]), tf.constant(upstream[rows]), tf.constant(mask[rows]))
    plain = keras.layers.BatchNormalization(momentum=0.5)
    with tf.GradientTape() as tape:
        whole = tf.constant(x)
        tape.watch(whole)
        expected = plain(whole, training=True, mask=tf.constant(mask) if masked else None)
        loss = tf.reduce_sum(expected * upstream)
    expected_gradient = tape.gradient(loss, whole)
    return (
        (out.numpy(), expected.numpy()[rows]),
        (gradient.numpy(), expected_gradient.numpy()[rows]),
        (layer.moving_mean.numpy(), plain.moving_mean.numpy()),
        (layer.moving_variance.numpy(), plain.moving_variance.numpy()),
    )


@pytest.mark.ranks(2)
@pytest.mark.parametrize("masked", [False, True])
def test_synchronized_batch_normalization_equals_the_plain_one_on_the_whole_batch(masked):
    for pairs in run_on_ranks(synchronized_batch_normalization, arguments=[masked]):
        for actual, expected in pairs:
            np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=2e-4)
