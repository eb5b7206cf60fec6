"""Batch normalisation over ranks: fused and synchronised, averaged, recalibrated."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks

pytestmark = pytest.mark.ranks(2)

PARTS = {1: [slice(0, 6)], 2: [slice(0, 4), slice(4, 6)]}


def fused_and_synchronized(policy):
    """Returns what this rank's rows give, and what the plain layer gives for all rows."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.layers.fused_batch_normalization import FusedSyncBatchNormalization
    from hvd_imgcls.keras.layers.sync_batch_normalization import synchronize_batch_normalization

    keras.config.set_dtype_policy(policy)
    random = np.random.default_rng(5)
    x = (random.normal(size=(6, 5, 4, 3)) * [1, 2, 3] + [0, 10, 100]).astype(np.float32)
    upstream = random.normal(size=x.shape).astype(np.float32)
    rows = PARTS[hvd.size()][hvd.rank()]

    def run(layer, part, part_upstream):
        images = tf.constant(part)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                tape.watch(images)
                out = layer(images, training=True)
                loss = tf.reduce_sum(tf.cast(out, tf.float32) * part_upstream)
            return tf.cast(out, tf.float32), *tape.gradient(loss, [images, layer.gamma.value])

        return [value.numpy() for value in step()] + [
            layer.moving_mean.numpy(),
            layer.moving_variance.numpy(),
        ]

    plain = keras.layers.BatchNormalization(momentum=0.5)
    expected = run(plain, x, upstream)
    layer = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    synchronize_batch_normalization(model)
    hvd.accelerate(model)
    assert type(layer) is FusedSyncBatchNormalization
    actual = run(layer, x[rows], upstream[rows])
    # The gradient of gamma is this rank's part: the optimizer adds the parts up.
    actual[2] = hvd.allreduce(actual[2], op=hvd.Sum).numpy()
    expected[:2] = [value[rows] for value in expected[:2]]
    return actual, expected


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 3e-5), ("mixed_bfloat16", 2e-2)])
def test_fused_synchronized_equals_the_plain_one_on_the_whole_batch(policy, tolerance):
    for actual, expected in run_on_ranks(fused_and_synchronized, arguments=[policy]):
        for ours, theirs in zip(actual, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def with_padding():
    """Returns the same as `fused_and_synchronized`, with padding on every rank."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.layers.present_examples import counting
    from hvd_imgcls.keras.layers.sync_batch_normalization import synchronize_batch_normalization

    keras.config.set_dtype_policy("float32")
    random = np.random.default_rng(5)
    x = (random.normal(size=(6, 5, 4, 3)) * [1, 2, 3] + [0, 10, 100]).astype(np.float32)
    upstream = random.normal(size=x.shape).astype(np.float32)
    # Rank 0 has two examples and padding, rank 1 nothing but padding.
    present = [[True, False, True, False], [False, False]][hvd.rank()]
    rows = PARTS[2][hvd.rank()]
    real = [0, 2]

    def run(layer, part, part_upstream, weights):
        images = tf.constant(part)

        @tf.function
        def step():
            with tf.GradientTape() as tape, counting(tf.constant(weights, tf.float32)):
                tape.watch(images)
                out = layer(images, training=True)
                loss = tf.reduce_sum(out * part_upstream)
            return out, *tape.gradient(loss, [images, layer.gamma.value])

        results = [value.numpy() for value in step()]
        return [*results, layer.moving_mean.numpy(), layer.moving_variance.numpy()]

    plain = keras.layers.BatchNormalization(momentum=0.5)
    expected = run(plain, x[real], upstream[real], [1, 1])
    layer = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    synchronize_batch_normalization(model)
    hvd.accelerate(model)
    mask = np.array(present, np.float32)[:, None, None, None]
    actual = run(layer, x[rows], upstream[rows] * mask, present)
    actual[2] = hvd.allreduce(actual[2], op=hvd.Sum).numpy()
    return [actual[0][present], actual[1][present], *actual[2:]], expected, actual[1]


def test_padding_has_no_part_in_synchronized_moments():
    (actual, expected, gradient), (idle, *_, idle_gradient) = run_on_ranks(with_padding)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-5 * np.abs(theirs).max())
    for ours, theirs in zip(idle[2:], expected[2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-5 * np.abs(theirs).max())
    assert not gradient[[1, 3]].any()
    assert not idle_gradient.any()


def average_statistics():
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization()])
    layer = model.layers[0]
    layer.moving_mean.assign([1.0 + hvd.rank(), 2.0, 3.0])
    hvd.average_moving_statistics(model, weight=1.0 + 2.0 * hvd.rank())
    return layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()


def test_moving_statistics_become_their_weighted_mean_on_all_ranks():
    results = run_on_ranks(average_statistics)
    assert results == [([1.75, 2.0, 3.0], [1.0, 1.0, 1.0])] * 2


def recalibrated():
    """Returns the statistics after recalibration and the two ranks' images."""
    import keras

    import hvd_imgcls.keras as hvd

    layer = keras.layers.BatchNormalization(momentum=0.9)
    model = hvd.accelerate(keras.Sequential([keras.Input((4, 4, 2)), layer]))
    random = np.random.default_rng(hvd.rank())
    batches = [(random.normal(3, 2, (5, 4, 4, 2)).astype(np.float32), 0) for _ in range(3)]
    hvd.recalibrate(model, batches, num_batches=3)
    return (
        layer.moving_mean.numpy(),
        layer.moving_variance.numpy(),
        layer.momentum,
        np.stack([images for images, _ in batches]),
    )


def test_recalibration_is_the_mean_over_the_batches_of_all_ranks():
    results = run_on_ranks(recalibrated)
    images = np.concatenate([batches for *_, batches in results])
    for mean, variance, momentum, _ in results:
        assert momentum == 0.9
        np.testing.assert_allclose(mean, images.mean((1, 2, 3)).mean(0), rtol=1e-5)
        np.testing.assert_allclose(variance, images.var((1, 2, 3)).mean(0), rtol=1e-5)


def recalibrated_with_differences():
    """Returns the message for each difference between the ranks."""
    import keras

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()

    def recalibrate(number=3, available=3, layers=1, scale=1.0):
        normalizations = [keras.layers.BatchNormalization() for _ in range(layers)]
        model = keras.Sequential([keras.Input((4, 4, 2)), *normalizations])
        hvd.synchronize_batch_normalization(model)
        if layers:
            model.layers[0].gamma.assign([scale, 1.0])
        batches = [(np.ones((2, 4, 4, 2), np.float32), 0)] * available
        hvd.recalibrate(model, batches, num_batches=number)

    def with_local_layers():
        local = keras.layers.Dense(2, use_bias=False)
        model = keras.Sequential([keras.Input((2,)), local, keras.layers.BatchNormalization()])
        optimizer = hvd.PartialDistributedOptimizer(keras.optimizers.SGD(), local_layers=local)
        model.compile(optimizer, loss="mse")
        hvd.recalibrate(model, [(np.ones((2, 2), np.float32), 0)], num_batches=1)

    return {
        "number": message_of(lambda: recalibrate(number=2 + rank)),
        "available": message_of(lambda: recalibrate(available=2 + rank)),
        "layers": message_of(lambda: recalibrate(layers=1 + rank)),
        "no layers": message_of(lambda: recalibrate(layers=rank)),
        "weights": message_of(lambda: recalibrate(scale=1.0 + rank)),
        "nothing": message_of(lambda: recalibrate(number=0)),
        "local layers": message_of(with_local_layers),
        "equal": message_of(recalibrate),
    }


def test_recalibration_compares_models_and_batches_before_it_begins():
    first, second = run_on_ranks(recalibrated_with_differences, timeout_seconds=60)
    for case in first:  # Keras numbers the names in "weights" by what else a rank has built
        assert first[case] == second[case] or case == "weights"
    assert "differs from rank 0" in second["weights"]
    assert first["equal"] is first["local layers"] is None
    for case, text in {
        "number": "num_batches: 2 on rank 0, 3 on rank 1",
        "available": "batches: got '2 on rank 0', expected 3",
        "layers": "moving statistics: 2 on rank 0, 4 on rank 1",
        "no layers": "moving statistics: 0 on rank 0, 2 on rank 1",
        "weights": "gamma (1 of 2 differ): rank 1 differs from rank 0",
        "nothing": "num_batches: got 0, expected at least 1",
    }.items():
        assert text in first[case], case


def fit_with_callback():
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.01)), "mse")
    random = np.random.default_rng(hvd.rank())
    data = tf.data.Dataset.from_tensors(
        (random.normal(size=(8, 4, 4, 2)).astype(np.float32), np.zeros((8, 1), np.float32))
    )
    callbacks = [hvd.callbacks.AverageMovingStatisticsCallback()]
    history = model.fit(data, validation_data=data, epochs=2, verbose=0, callbacks=callbacks)
    return model.get_weights(), history.history["val_loss"]


def test_callback_leaves_the_same_model_on_all_ranks():
    (first, _), (second, _) = run_on_ranks(fit_with_callback)
    assert not np.array_equal(first[2], np.zeros(2))
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)
