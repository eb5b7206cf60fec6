"""Forward and backward pass compiled with XLA: the same training within rounding."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def train(policy, compiles, passes):
    """Returns the weights and the logs of two epochs."""
    import keras

    import hvd_imgcls.keras as hvd

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(8, 3),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(4, dtype="float32", kernel_regularizer="l2"),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    hvd.accelerate(model, jit_compile=compiles)
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(0.05, momentum=0.9),
        backward_passes_per_step=passes,
        average_aggregated_gradients=True,
        check_every_steps=1,
    )
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
        jit_compile=False,
    )
    random = np.random.default_rng(hvd.rank())
    x = random.normal(size=(32, 8, 8, 3)).astype(np.float32)
    y, weights = random.integers(0, 4, 32), random.uniform(size=32).astype(np.float32)
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        sample_weight=weights,
        shuffle=False,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
    )
    is_compiled = "train_step" in vars(model)
    return [np.array(w) for w in model.get_weights()], history.history, is_compiled


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        ("float32", 2),
        pytest.param("mixed_bfloat16", 1, marks=pytest.mark.slow),
        pytest.param("mixed_float16", 1, marks=pytest.mark.slow),
    ],
)
def test_the_same_training_within_rounding(policy, passes):
    compiled = run_on_ranks(train, arguments=[policy, True, passes])
    plain = run_on_ranks(train, arguments=[policy, False, passes])
    tolerance = 1e-5 if policy == "float32" else 3e-2
    for (got, logs, is_compiled), (expected, expected_logs, is_plain) in zip(
        compiled, plain, strict=True
    ):
        assert is_compiled
        assert not is_plain
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        assert logs.keys() == expected_logs.keys()
        np.testing.assert_allclose(logs["loss"], expected_logs["loss"], rtol=tolerance)
    np.testing.assert_array_equal(compiled[0][0][0], compiled[1][0][0])


def refused():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    class Own(keras.Model):
        def train_step(self, data):
            return {}

    layers = [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    synchronized = keras.Sequential(layers)
    hvd.synchronize_batch_normalization(synchronized)
    messages = []
    for model in (Own(), synchronized):
        try:
            hvd.accelerate(model, jit_compile=True)
        except ConfigError as error:
            messages.append(str(error))
    return messages


def test_what_cannot_be_compiled_is_refused():
    ((own, synchronized),) = run_on_ranks(refused, size=1)
    assert "Own, which has a train_step of its own" in own
    assert "synchronised batch normalisation: batch_normalization" in synchronized
