"""Losses and class weights against their formulas in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.config import parse_config
from hvd_imgcls.config.losses import BinaryCrossEntropy, CrossEntropy, Focal, SquaredError
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.losses import build_loss
from hvd_imgcls.plan import balanced_class_weights
from tests.support.pipelines import PIPELINE

LOGITS = np.array([[2.0, -1.0, 0.5], [-3.0, 4.0, 0.0], [0.1, 0.2, 0.3]], np.float32)
ONE_HOT = np.eye(3, dtype=np.float32)[[0, 2, 1]]
SOFT = np.array([[0.7, 0.3, 0.0], [0.1, 0.1, 0.8], [0.0, 1.0, 0.0]], np.float32)


def softmax(logits):
    exponentials = np.exp(logits.astype(np.float64))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid_losses(targets, logits):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p))


BCE = {"name": "binary_cross_entropy"}
CASES = {
    "cross_entropy": (CrossEntropy(), lambda y, z: -(y * np.log(softmax(z))).sum(-1)),
    "smoothed": (
        CrossEntropy(label_smoothing=0.3),
        lambda y, z: -((0.7 * y + 0.1) * np.log(softmax(z))).sum(-1),
    ),
    "per class, mean": (BinaryCrossEntropy(**BCE), lambda y, z: sigmoid_losses(y, z).mean(-1)),
    "per class, sum": (
        BinaryCrossEntropy(**BCE, over_classes="sum"),
        lambda y, z: sigmoid_losses(y, z).sum(-1),
    ),
    "per class, threshold": (
        BinaryCrossEntropy(**BCE, target_threshold=0.2),
        lambda y, z: sigmoid_losses(y > 0.2, z).mean(-1),
    ),
    "squared_error": (
        SquaredError(name="squared_error"),
        lambda y, z: ((softmax(z) - y) ** 2).sum(-1),
    ),
    "focal": (
        Focal(name="focal", gamma=1.5),
        lambda y, z: -(y * (1 - softmax(z)) ** 1.5 * np.log(softmax(z))).sum(-1),
    ),
}


@pytest.mark.parametrize("targets", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("case", CASES)
def test_loss_is_its_formula_and_the_mean_over_examples(case, targets):
    config, formula = CASES[case]
    expected, weights = formula(targets, LOGITS), np.array([1.0, 0.0, 2.5], np.float32)
    loss = build_loss(config)
    assert float(loss(targets, LOGITS)) == pytest.approx(expected.mean(), rel=1e-5)
    # Divided by three examples, not by the 3.5 that the weights are together.
    weighted = (expected * weights).sum() / 3
    assert float(loss(targets, LOGITS, weights)) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_loss_comes_back_from_what_keras_saves(case):
    loss = build_loss(CASES[case][0])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(SOFT, LOGITS)) == float(loss(SOFT, LOGITS))


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_finite_for_answers_that_are_certain(case):
    logits = tf.constant([[90.0, -90.0, 0.0], [-90.0, 90.0, -90.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = build_loss(CASES[case][0])(ONE_HOT[:2], logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    # The second answer is wrong. Only for probabilities a step does not change the square.
    assert np.abs(gradient[1]).max() > 0.1 or case == "squared_error"


def test_focal_of_gamma_zero_is_the_cross_entropy():
    focal, plain = build_loss(Focal(name="focal", gamma=0.0)), build_loss(CrossEntropy())
    assert float(focal(SOFT, LOGITS)) == pytest.approx(float(plain(SOFT, LOGITS)), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("{name: cross_entropy, label_smoothing: 0.2}", keras.losses.CategoricalCrossentropy),
        ("{name: binary_cross_entropy}", keras.losses.BinaryCrossentropy),
    ],
)
def test_loss_is_of_keras_where_keras_has_it(words, kind):
    config = parse_config(PIPELINE, ["--loss", words], origin="x.yaml")
    built = build_loss(config.loss)
    assert type(built) is kind
    assert built.get_config()["from_logits"]
    assert built.get_config()["label_smoothing"] == getattr(config.loss, "label_smoothing", 0)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50))
def test_balanced_weights_give_every_class_the_same_and_have_mean_one(counts):
    weights = balanced_class_weights(counts)
    parts = [weight * count for weight, count in zip(weights, counts, strict=True)]
    assert parts == pytest.approx([sum(counts) / len(counts)] * len(counts))
    assert sum(parts) == pytest.approx(sum(counts))


def test_class_without_examples_is_named():
    with pytest.raises(ConfigError, match=r"train\.class_weights: got .*class 1, 3"):
        balanced_class_weights([3, 0, 2, 0])
