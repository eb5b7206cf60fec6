"""`shard_optimizer_state`: the training of the whole state, with a part of it on every rank."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {"rho": 0.9, "momentum": 0.5, "centered": True},
    "Adam": {"amsgrad": True},
    "AdamW": {"weight_decay": 0.1},
    "Adadelta": {"learning_rate": 0.5},
    "Adagrad": {},
    "Adamax": {},
    "Nadam": {},
    "Ftrl": {"l2_regularization_strength": 0.01},
    "Lion": {"learning_rate": 0.001},
}


# Values of the kernels and biases: not divisible by 2, 3 or 4; and whole vectors of the processor
# on both ranks, since what is left over is computed by other instructions.
ODD, EVEN = (5, 7, 3), (32, 64, 32)


def model_of(widths):
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(widths[:1]),
            layers.Dense(widths[1], activation="tanh", name="first"),
            layers.Dense(widths[2], kernel_constraint=keras.constraints.MaxNorm(1.5), name="last"),
        ],
        name="model",
    )


def train(optimizer, *, passes=1, steps=6, shards=True, widths=ODD, **keywords):
    """Returns weights and the shapes of the optimizer's state after some steps of `fit`."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    hvd.init()
    model = model_of(widths)
    keywords.setdefault("skip_non_finite", True)
    optimizer = hvd.DistributedOptimizer(
        optimizer, shard_optimizer_state=shards, backward_passes_per_step=passes, **keywords
    )
    model.compile(optimizer, keras.losses.MeanSquaredError(), jit_compile=False)
    random = np.random.default_rng(hvd.rank())
    x = random.normal(size=(4 * passes * steps, widths[0])).astype(np.float32)
    y = random.normal(size=(4 * passes * steps, widths[2])).astype(np.float32)
    model.fit(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(4),
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
        verbose=0,
    )
    return (
        [np.asarray(variable) for variable in model.trainable_variables],
        [tuple(variable.shape) for variable in model.optimizer.variables],
    )


def train_with_each(settings, widths):
    import keras

    results = {}
    for name, options in settings.items():
        make = getattr(keras.optimizers, name)
        results[name] = [
            train(make(**options), shards=shards, widths=widths) for shards in (True, False)
        ]
    return results


@pytest.mark.ranks(2)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("widths", [EVEN, pytest.param(ODD, marks=pytest.mark.slow)])
def test_two_ranks_train_as_with_the_whole_state(widths):
    results = run_on_ranks(train_with_each, arguments=[OPTIMIZERS, widths], timeout_seconds=300)
    for name in OPTIMIZERS:
        for (sharded, parts), (plain, whole) in (one[name] for one in results):
            for got, expected in zip(sharded, plain, strict=True):
                if widths == EVEN:
                    np.testing.assert_array_equal(got, expected, err_msg=name)
                else:
                    np.testing.assert_allclose(got, expected, 1e-5, 1e-7, err_msg=name)
            assert len(parts) == len(whole)
            for part, shape in zip(parts, whole, strict=True):
                # 35 values are 18 on each of two ranks.
                assert part == ((-(-int(np.prod(shape)) // 2),) if shape else ()), name


CLIPPING = {
    "by norm": {"clipnorm": 0.01},
    "by global norm": {"global_clipnorm": 0.02},
    "by value": {"clipvalue": 0.003},
}


def train_clipped(size):
    import keras

    return {
        (name, shards): train(
            keras.optimizers.SGD(0.5, momentum=0.9, **options), passes=2, shards=shards
        )[0]
        for name, options in CLIPPING.items()
        for shards in (True, False)
    }


@pytest.mark.timeout(400)
@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_clipping_is_by_the_norms_of_whole_gradients(size):
    results = run_on_ranks(train_clipped, size, arguments=[size], timeout_seconds=300)
    for name in CLIPPING:
        for rank in results:
            for got, expected in zip(rank[name, True], rank[name, False], strict=True):
                np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6, err_msg=name)
            for got, other in zip(rank[name, True], results[0][name, True], strict=True):
                np.testing.assert_array_equal(got, other)


def refused():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    hvd.init()
    messages = []
    for make, keywords in (
        (keras.optimizers.Muon, {}),
        (keras.optimizers.Lamb, {}),
        (keras.optimizers.Adafactor, {}),
        (keras.optimizers.ScheduleFreeAdamW, {}),
        (keras.optimizers.SGD, {"mode": hvd.LocalSGD()}),
        (keras.optimizers.SGD, {"op": hvd.Adasum}),
        (keras.optimizers.SGD, {"compression": hvd.Compression.int8()}),
    ):
        with pytest.raises(ConfigError, match="shard_optimizer_state") as error:
            hvd.DistributedOptimizer(make(), shard_optimizer_state=True, **keywords)
        messages.append(str(error.value))
    return messages


@pytest.mark.ranks(2)
def test_what_needs_whole_variables_is_refused_by_name():
    messages = run_on_ranks(refused)[0]
    for message, word in zip(
        messages,
        ("Muon", "Lamb", "Adafactor", "ScheduleFreeAdamW", "local_sgd", "Adasum", "feedback"),
        strict=True,
    ):
        assert word in message
