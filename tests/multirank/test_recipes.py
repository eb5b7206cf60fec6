"""Losses, optimizers, schedules, clipping and averages: the same on one rank and on two.

All cases go through one call per number of ranks, since starting and tracing cost the most.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: cosine, base_learning_rate: 1, warmup_epochs: 0.05}
train: {global_batch_size: 36, num_steps: 6, check_every_steps: 2}
"""
STEPS = "{name: step, base_learning_rate: 2, warmup_epochs: 0.05, milestones: [0.08, 0.12]}"
BALANCED = "--train.class_weights=balanced"
CASES = {
    "sgd, l2, corrected, global norm": [
        "--optimizer={name: sgd, weight_decay: 0.1, weight_decay_kind: l2, "
        "momentum_correction: true}",
        "--gradient_clipping={name: global_norm, max_norm: 0.2}",
        f"--schedule={STEPS}",
    ],
    "sgd, norm, accumulated, ema": [
        "--optimizer={name: sgd, weight_decay: 0.1, nesterov: true}",
        "--gradient_clipping={name: norm, max_norm: 0.2}",
        "--train.gradient_accumulation_steps=3",
        "--train.ema={decay: 0.5}",
        "--schedule={name: polynomial, base_learning_rate: 1, warmup_epochs: 0.05}",
    ],
    "sgd, value, per class, balanced": [
        "--gradient_clipping={name: value, max_value: 0.003}",
        "--loss={name: binary_cross_entropy, over_classes: sum}",
        BALANCED,
    ],
    "adamw, layer decay, focal, float16": [
        "--optimizer={name: adamw, weight_decay: 0.1, epsilon: 1e-3}",
        "--fine_tuning.layer_decay=0.5",
        "--loss={name: focal}",
        "--train.precision=mixed_float16",
        "--train.ema={decay: 0.9, warms_up: false}",
    ],
    "lamb, squared error, accumulated": [
        "--optimizer={name: lamb, weight_decay: 0.1, epsilon: 1e-3}",
        "--loss={name: squared_error}",
        "--train.gradient_accumulation_steps=2",
    ],
    "lars, adaptive clipping": [
        "--optimizer={name: lars, weight_decay: 0.01, trust_coefficient: 0.1}",
        "--gradient_clipping={name: adaptive, max_ratio: 0.02}",
        BALANCED,
        "--train.last_batch=weighted",
    ],
}


def small_network(seed, dtype):
    import keras

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(dtype)
    layers = keras.layers
    images = keras.Input((8, 8, 1))
    features = layers.Flatten()(layers.AveragePooling2D(2)(layers.Rescaling(1 / 16)(images)))
    features = layers.Dense(6, activation="tanh")(features)
    model = keras.Model(images, layers.Dense(10, dtype="float32")(features))
    keras.config.set_dtype_policy("float32")
    return model


def train_case(overrides):
    """Returns losses by step, weights and optimizer state of this rank."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls import distributed
    from hvd_imgcls.config import parse_config
    from hvd_imgcls.data import open_source
    from hvd_imgcls.data.pipeline.dataset import training_dataset
    from hvd_imgcls.plan import make_plan
    from hvd_imgcls.workflows.training.model import compile_model

    config = parse_config(PIPELINE, overrides, origin="x.yaml")
    source, topology = open_source(config.data.source), distributed.current().topology
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=10,
        topology=topology,
        num_cores=1,
    )
    model = small_network(plan.seed, config.train.precision)
    compile_model(model, config, plan)
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        model.optimizer.initial_scale = 8.0  # or the first steps would be skipped
    losses = []

    class Losses(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.reset_metrics()

        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs["loss"])

    num_batches = plan.num_steps * plan.gradient_accumulation_steps
    model.fit(
        training_dataset(source, config, plan, rank=topology.rank),
        steps_per_epoch=num_batches,
        shuffle=False,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), Losses()],
    )
    means = distributed.current().sum_arrays("losses", np.array(losses)) / topology.size
    per_step = means.reshape(plan.num_steps, -1).mean(axis=1)
    averages = [v.numpy() for v in model.optimizer.variables if v.name.endswith("average")]
    return {
        "losses": per_step,
        "weights": model.get_weights(),
        "state": [np.asarray(v) for v in model.optimizer.variables],
        "averages": averages,
        "updates": int(np.asarray(model.optimizer.iterations)),
    }


def train_cases():
    return {name: train_case(overrides) for name, overrides in CASES.items()}


@pytest.fixture(scope="module")
def one():
    return run_on_ranks(train_cases, size=1, timeout_seconds=200)[0]


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def several(request):
    return run_on_ranks(train_cases, size=request.param, timeout_seconds=300)


@pytest.mark.ranks(3)
@pytest.mark.parametrize("name", CASES)
def test_recipe_trains_the_same_on_one_rank_and_on_several(one, several, name):
    alone, (first, *others) = one[name], [by_case[name] for by_case in several]
    for other in others:
        for a, b in zip(
            other["weights"] + other["state"], first["weights"] + first["state"], strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert alone["updates"] == first["updates"] == 6
    # Rounding, in another order; float16 rounds the gradients of other batches.
    tolerance = 5e-3 if "float16" in name else 2e-4
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=tolerance)
    assert len(first["averages"]) == (4 if "ema" in str(CASES[name]) else 0)
    for kind in ("weights", "averages"):
        for a, b in zip(first[kind], alone[kind], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
    # It moved, so being the same says something.
    assert abs(alone["losses"][-1] / alone["losses"][0] - 1) > 5e-3


CLIPPINGS = {
    "value": "{name: value, max_value: 0.5}",
    "norm": "{name: norm, max_norm: 0.5}",
    "global_norm": "{name: global_norm, max_norm: 0.5}",
    "adaptive": "{name: adaptive, max_ratio: 0.5, epsilon: 1}",
}


def clip_different_gradients():
    """Applies one step of plain SGD at rate 1 with gradients that differ between ranks."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.config import parse_config
    from hvd_imgcls.optimizers.recipe import build_recipe

    found = {}
    for name, words in CLIPPINGS.items():
        config = parse_config(
            PIPELINE,
            ["--gradient_clipping", words, "--optimizer={name: sgd, momentum: 0}"],
            origin="x.yaml",
        )
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        last = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((2,)), dense, last])
        optimizer = hvd.DistributedOptimizer(build_recipe(config, 1.0, model, num_steps=10))
        # Long and against each other on each rank; short and clear in the mean.
        far = 100.0 if hvd.rank() == 0 else -100.0
        gradient = np.array([[far + 0.6], [0.8]], np.float32)
        optimizer.apply([gradient, np.array([[2.0]], np.float32)], model.trainable_variables)
        found[name] = [-weight for weight in model.get_weights()]
    return found


@pytest.mark.ranks(2)
def test_clipping_sees_the_mean_of_the_ranks_and_not_their_parts():
    mean, last = np.array([[0.6], [0.8]]), np.array([[2.0]])
    both = np.sqrt(1 + 4)
    expected = {
        "value": [np.array([[0.5], [0.5]]), np.array([[0.5]])],
        "norm": [mean * 0.5, np.array([[0.5]])],
        "global_norm": [mean * 0.5 / both, last * 0.5 / both],
        "adaptive": [mean * 0.5, last],  # the last layer is left out
    }
    for found in run_on_ranks(clip_different_gradients):
        assert found.keys() == expected.keys()
        for name, steps in found.items():
            for step, wanted in zip(steps, expected[name], strict=True):
                np.testing.assert_allclose(step, wanted, rtol=1e-4, err_msg=name)
