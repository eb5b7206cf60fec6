"""The fused batch normalisation equals Keras's own and saves as it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.keras.layers.fused_batch_normalization import FusedBatchNormalization

# Largest difference from Keras's own, as a part of the largest value: some roundings.
TOLERANCE = {"float32": 2e-6, "mixed_bfloat16": 1e-2, "mixed_float16": 2e-3}


@pytest.fixture(autouse=True)
def _initialized():
    hvd.init()


@pytest.fixture(params=TOLERANCE)
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def model_of(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    for number, weight in enumerate(layer.trainable_weights):
        weight.assign(np.linspace(0.5 - number, 2, weight.shape[0]))
    return model


def run(model, inputs, upstream, **keywords):
    """Returns outputs, gradients and moving statistics of one training step, and inference."""
    layer = model.layers[-1]
    images = tf.constant(inputs)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=True, **keywords)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream)
        trained = [weight.value for weight in layer.trainable_weights]
        return outputs, *tape.gradient(loss, [images, *trained])

    results = [*step(), *layer.non_trainable_weights, model(images, training=False)]
    return [keras.ops.convert_to_numpy(keras.ops.cast(result, "float32")) for result in results]


def require_equal(actual, expected, tolerance):
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 1e-5}]
)
def test_results_gradients_and_statistics_are_those_of_keras(policy, options):
    random = np.random.default_rng(0)
    shape = (5, 4, 3)
    inputs = random.normal(3, 2, (6, *shape)).astype(np.float32)
    upstream = random.normal(size=inputs.shape).astype(np.float32)
    plain = model_of(keras.layers.BatchNormalization(**options), shape)
    fused = hvd.accelerate(model_of(keras.layers.BatchNormalization(**options), shape))
    assert type(fused.layers[-1]) is FusedBatchNormalization
    require_equal(run(fused, inputs, upstream), run(plain, inputs, upstream), TOLERANCE[policy])


@pytest.mark.parametrize(
    ("shape", "options"),
    [((7,), {}), ((4, 7), {}), ((4, 3, 7), {"axis": 1}), ((4, 3, 7), {"renorm": True})],
    ids=str,
)
def test_what_the_operation_cannot_do_is_left_to_keras(shape, options):
    random = np.random.default_rng(0)
    inputs = random.normal(3, 2, (6, *shape)).astype(np.float32)
    upstream = random.normal(size=inputs.shape).astype(np.float32)
    plain = model_of(keras.layers.BatchNormalization(**options), shape)
    fused = hvd.accelerate(model_of(keras.layers.BatchNormalization(**options), shape))
    require_equal(run(fused, inputs, upstream), run(plain, inputs, upstream), 1e-6)


def test_a_mask_is_respected():
    random = np.random.default_rng(0)
    inputs = random.normal(3, 2, (6, 4, 3, 7)).astype(np.float32)
    mask = random.uniform(size=(6, 4, 3)) > 0.5
    layers = [keras.layers.BatchNormalization() for _ in range(2)]
    outputs = []
    for layer in layers:
        model = model_of(layer, (4, 3, 7))
        if layer is layers[1]:
            hvd.accelerate(model)
        outputs.append(layer(inputs, mask=tf.constant(mask), training=True))
    np.testing.assert_array_equal(*outputs)


def test_a_frozen_layer_keeps_its_statistics():
    layer = keras.layers.BatchNormalization()
    model = hvd.accelerate(model_of(layer, (4, 3, 7)))
    layer.trainable = False
    model(np.ones((2, 4, 3, 7), np.float32) * 5, training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(7))


def test_a_nested_model_is_accelerated_and_saved_as_plain_keras(tmp_path):
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    outputs = keras.layers.BatchNormalization()(inner(images))
    model = hvd.accelerate(keras.Model(images, outputs))
    layers = [layer for layer in model._flatten_layers() if "batch" in layer.name]
    assert [type(layer) for layer in layers] == [FusedBatchNormalization] * 2
    batch = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    model(batch, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is keras.layers.BatchNormalization
    np.testing.assert_allclose(loaded(batch), model(batch), rtol=1e-5, atol=1e-6)


def test_fit_compiled_by_xla_gives_the_same():
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 4, 4, 2)).astype(np.float32)
    targets = random.normal(size=(8, 1)).astype(np.float32)
    weights = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((4, 4, 2)),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        hvd.accelerate(model).compile("sgd", "mse", jit_compile=jit_compile)
        model.fit(images, targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
        weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-6)
