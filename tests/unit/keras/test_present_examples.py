"""A step with padding equals the step without, for layers that compute across the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.keras.layers.present_examples import ignoring_weight_zero, layers_that_see_all
from hvd_imgcls.keras.layers.sync_batch_normalization import synchronize_batch_normalization

REAL, SLOTS = 5, 8


def make_model(kind):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(name="of_images", momentum=0.5),
            layers.Activation("relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
            layers.BatchNormalization(name="of_features", momentum=0.5),
            layers.Dense(3),
        ]
    )
    if kind == "synchronised":
        hvd.init()
        synchronize_batch_normalization(model)
    return hvd.accelerate(model)


def after_steps(kind, batches, *, ignores=True):
    """Returns all weights after a step for each of (images, labels, weights)."""
    model = make_model(kind)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with ignoring_weight_zero(model):
        if not ignores:
            del vars(model)["train_step"]
            vars(model)["train_step"] = type(model).train_step.__get__(model)
        model.compile(keras.optimizers.SGD(0.1), loss)
        spec = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in batches[0]]
        dataset = tf.data.Dataset.from_generator(
            lambda: iter([tuple(batch) for batch in batches]), output_signature=tuple(spec)
        )
        model.fit(dataset, steps_per_epoch=len(batches), shuffle=False, verbose=0)
    return [variable.numpy() for variable in model.weights]


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    images = random.normal(2, 3, (SLOTS, 6, 6, 3)).astype(np.float32)
    return images, random.integers(0, 3, SLOTS).astype(np.int32)


def padded(data):
    images, labels = data
    weights = np.where(np.arange(SLOTS) < REAL, SLOTS / REAL, 0).astype(np.float32)
    return images, labels, weights


def unpadded(data):
    images, labels = data
    return images[:REAL], labels[:REAL], np.ones(REAL, np.float32)


@pytest.mark.parametrize("kind", ["fused", "synchronised"])
def test_a_padded_step_equals_the_step_without_padding(kind, data):
    whole = data[0], data[1], np.ones(SLOTS, np.float32)
    ours = after_steps(kind, [whole, padded(data)])
    expected = after_steps(kind, [whole, unpadded(data)])
    for value, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=2e-6)
    seen = after_steps(kind, [whole, padded(data)], ignores=False)
    assert max(np.abs(a - b).max() for a, b in zip(seen, expected, strict=True)) > 1e-2


def test_a_batch_of_padding_only_changes_no_statistics(data):
    images, labels = data
    nothing = images, labels, np.zeros(SLOTS, np.float32)
    before = after_steps("fused", [padded(data)])
    after = after_steps("fused", [padded(data), nothing])
    for value, wanted in zip(after, before, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)


def test_recalibration_leaves_padding_out(data):
    model = make_model("fused")
    hvd.recalibrate(model, [padded(data), padded(data)], num_batches=2)
    ours = [variable.numpy() for variable in model.non_trainable_variables]
    model = make_model("fused")
    hvd.recalibrate(model, [unpadded(data)], num_batches=1)
    for value, variable in zip(ours, model.non_trainable_variables, strict=True):
        np.testing.assert_allclose(value, variable.numpy(), rtol=1e-5, atol=1e-6)


class CentredOverBatch(keras.layers.Layer):
    def call(self, inputs):
        return inputs - tf.reduce_mean(inputs, axis=0)


def test_layers_of_the_user_are_named():
    layers = [keras.Input((4,)), keras.layers.Dense(3), CentredOverBatch(name="mine")]
    assert layers_that_see_all(keras.Sequential(layers)) == ["mine (CentredOverBatch)"]
    assert layers_that_see_all(make_model("fused")) == []
