"""Which variables a pipeline gives a learning rate of their own."""

import json

import keras
import numpy as np

from hvd_imgcls.config import load_config
from hvd_imgcls.optimizers.recipe import build_recipe


def small_model():
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )


def one_step(model, gradient, **options):
    """Returns how far each variable goes down in a step from 1, by the name of its own."""
    section = {"name": "sgd", "momentum": 0.0, "normalization_bias_multiplier": 64} | options
    config = load_config("pipelines/digits_cnn.yaml", [f"--optimizer={json.dumps(section)}"])
    optimizer = build_recipe(config, 0.5, model, num_steps=10)
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape, np.float32))
    optimizer.apply([np.full(v.shape, gradient, np.float32) for v in variables], variables)
    return {v.path: float(np.mean(1 - v.numpy())) for v in variables}


def test_offsets_of_normalisation_alone_have_their_multiplier():
    """Biases of other layers with 64 times the learning rate grew without bounds."""
    moved = one_step(small_model(), 1.0)
    assert moved == {path: 32.0 if path.endswith("beta") else 0.5 for path in moved}


def test_all_variables_decay_alike_whatever_their_multiplier():
    """As in the paper that has the multiplier: a rate of decay is not a learning rate."""
    decay = {"weight_decay": 0.25, "weight_decay_kind": "l2"}
    moved = one_step(small_model(), 0.0, weight_decay_on="all", **decay)
    assert moved == dict.fromkeys(moved, 0.125)
    moved = one_step(small_model(), 0.0, **decay)
    assert moved == {path: 0.125 if path.endswith("kernel") else 0.0 for path in moved}
