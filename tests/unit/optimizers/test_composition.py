"""Extensions together: each sees what the others leave to it."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.models import build_model
from hvd_imgcls.optimizers import with_averaged_weights, with_lookahead
from hvd_imgcls.optimizers.recipe import build_recipe
from hvd_imgcls.optimizers.weight_decay import is_kernel
from tests.unit.optimizers.steps import make_gradients, make_variables, values

DECAY, RATE, SLOW = 0.8, 0.1, 0.5


@pytest.mark.parametrize("every_steps", [1, 2, 3])
@pytest.mark.parametrize("averages_first", [False, True])
def test_averages_are_of_the_weights_that_lookahead_leaves(every_steps, averages_first):
    def lookahead(optimizer):
        return with_lookahead(optimizer, every_steps=every_steps, slow_fraction=lambda _: SLOW)

    def averaged(optimizer):
        return with_averaged_weights(optimizer, DECAY)

    optimizer = keras.optimizers.SGD(RATE)
    for extend in (averaged, lookahead) if averages_first else (lookahead, averaged):
        optimizer = extend(optimizer)
    variables, gradients = make_variables(), make_gradients(7)
    weights = values(variables)
    slow = [weight.copy() for weight in weights]
    averages: list = [None] * len(weights)
    for step, of_step in enumerate(gradients, 1):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in of_step], variables)
        for i, gradient in enumerate(of_step):
            weights[i] = weights[i] - RATE * gradient
            if step % every_steps == 0:
                weights[i] = slow[i] = SLOW * slow[i] + (1 - SLOW) * weights[i]
            old = averages[i]
            averages[i] = weights[i] if old is None else DECAY * old + (1 - DECAY) * weights[i]
        for variable, weight in zip(variables, weights, strict=True):
            np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)
        found = optimizer._model_variables_moving_average
        for average, expected in zip(found, averages, strict=True):
            np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["{name: vit, width: 16, depth: 1, num_heads: 2, patch_size: 4}"])
def test_muon_takes_kernels_only(model):
    text = f"""
data: {{source: {{name: digits}}}}
model: {model}
optimizer: {{name: muon}}
schedule: {{name: constant, base_learning_rate: 0.1}}
train: {{global_batch_size: 64, num_epochs: 1}}
"""
    config = parse_config(text, origin="test")
    network = build_model(config.model, (8, 8, 1), 10)
    optimizer = build_recipe(config, 0.1, network, num_steps=10)
    optimizer.build(network.trainable_variables)
    matrices = [v for v in network.trainable_variables if len(v.shape) == 2]
    assert any(v.name == "bias" for v in matrices)
    taken = [v.path for v in matrices if not optimizer._should_use_adamw(v)]
    assert taken
    # Keras leaves out all embeddings, and its authors the last layer.
    left_out = ["embedding/kernel", *(v.path for v in network.layers[-1].trainable_variables)]
    assert taken == [v.path for v in matrices if is_kernel(v) and v.path not in left_out]
