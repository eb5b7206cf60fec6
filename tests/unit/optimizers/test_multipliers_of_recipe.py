"""Which variables a pipeline gives a learning rate of their own."""

import keras
import numpy as np

from hvd_imgcls.config import load_config
from hvd_imgcls.optimizers.recipe import build_recipe


def test_offsets_of_normalisation_alone_have_their_multiplier():
    """Biases of other layers with 64 times the learning rate grew without bounds."""
    config = load_config(
        "pipelines/digits_cnn.yaml",
        ["--optimizer={name: sgd, momentum: 0.0, normalization_bias_multiplier: 64}"],
    )
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    optimizer = build_recipe(config, 0.5, model, num_steps=10)
    variables = model.trainable_variables
    before = {v.path: v.numpy() for v in variables}
    optimizer.apply([np.ones(v.shape, np.float32) for v in variables], variables)
    moved = {v.path: float(np.mean(before[v.path] - v.numpy())) for v in variables}
    expected = {path: 32.0 if path.endswith("beta") else 0.5 for path in moved}
    assert moved == {path: np.float32(value) for path, value in expected.items()}
