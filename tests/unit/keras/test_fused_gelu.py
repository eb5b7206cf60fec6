"""GELU in one pass equals Keras's own and is saved as it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.keras.layers.fused_gelu import gelu

# Largest difference from the values in float64, as a part of the largest one.
TOLERANCE = {"float32": 1e-6, "bfloat16": 4e-3, "float16": 5e-4}


def values_and_gradients(function, inputs, upstream):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    return outputs, tape.gradient(outputs, inputs, upstream)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_gradients_are_right(dtype):
    random = np.random.default_rng(0)
    # As the narrow dtype has them, so that both compute from the same numbers.
    inputs = tf.cast(np.linspace(-12, 12, 5 * 4 * 64).reshape(5, 4, 64), dtype)
    upstream = tf.cast(random.normal(size=(5, 4, 64)), dtype)
    expected = values_and_gradients(
        keras.activations.gelu, tf.cast(inputs, tf.float64), tf.cast(upstream, tf.float64)
    )
    for run in (values_and_gradients, tf.function(values_and_gradients)):
        for ours, exact in zip(run(gelu, inputs, upstream), expected, strict=True):
            assert ours.dtype == inputs.dtype
            atol = TOLERANCE[dtype] * np.abs(exact).max()
            np.testing.assert_allclose(tf.cast(ours, tf.float64), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("approximate", [False, True])
def test_other_dtypes_and_the_approximation_are_left_to_keras(approximate):
    inputs = np.linspace(-3, 3, 7)
    expected = keras.activations.gelu(tf.constant(inputs), approximate=approximate)
    actual = gelu(tf.constant(inputs), approximate=approximate)
    assert actual.dtype == tf.float64
    np.testing.assert_array_equal(actual, expected)


def test_layers_that_have_it_are_accelerated_and_saved_as_plain_keras(tmp_path):
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, activation="gelu")])
    features = keras.layers.GlobalAveragePooling2D()(inner(images))
    features = keras.layers.Dense(6, activation="relu")(features)
    outputs = keras.layers.Activation("gelu")(features)
    model = keras.Model(images, outputs)
    batch = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    config, before = model.get_config(), keras.ops.convert_to_numpy(model(batch))

    assert hvd.accelerate(model) is model
    activations = [inner.layers[0].activation, *(layer.activation for layer in model.layers[-2:])]
    assert activations == [gelu, keras.activations.relu, gelu]
    assert model.get_config() == config
    np.testing.assert_allclose(model(batch), before, rtol=1e-5, atol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].activation is keras.activations.gelu
    np.testing.assert_allclose(loaded(batch), before, rtol=1e-5, atol=1e-6)


def test_a_model_learns_the_same_with_it():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(12, 5)).astype(np.float32)
    targets = random.normal(size=(12, 1)).astype(np.float32)
    weights = []
    for accelerate in (lambda model: model, hvd.accelerate):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(8, activation="gelu"),
                keras.layers.Dense(1),
            ]
        )
        accelerate(model).compile("sgd", "mse")
        # The last batch is smaller: another shape.
        model.fit(inputs, targets, batch_size=5, epochs=3, shuffle=False, verbose=0)
        weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)
