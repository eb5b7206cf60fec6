"""Delayed reductions and local SGD against their formulas, and continued."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

SHAPE, NUM_STEPS, RATE = (6, 5), 7, 0.1


def gradient_of(rank, step):
    return np.random.default_rng([rank, step]).normal(size=SHAPE).astype(np.float32)


def means():
    return [np.mean([gradient_of(r, s) for r in range(2)], axis=0) for s in range(NUM_STEPS)]


def train(mode, options, steps, state=None, momentum=0.0, compression="none"):
    """Returns the weights after every step, the states at the end, and what settling makes."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(RATE, momentum=momentum),
        mode=getattr(hvd, mode)(**options),
        compression=getattr(hvd.Compression, compression),
        check_every_steps=1,
        skip_non_finite=True,
    )
    synchronizer = synchronizer_of(optimizer)
    variable = keras.Variable(np.ones(SHAPE, np.float32), name="kernel")
    optimizer.build([variable])
    if state is not None:
        variable.assign(state["weights"][-1])
        for slot, value in zip(optimizer.variables, state["optimizer"], strict=True):
            slot.assign(value)
        synchronizer.restore(optimizer, state["shared"])
        synchronizer.mode.restore_rank_state(state["own"])

    @tf.function(autograph=False)
    def step(gradient):
        optimizer.apply([gradient], [variable])

    seen = []
    for number in steps:
        step(gradient_of(hvd.rank(), number))
        seen.append(np.array(variable))
    result = {
        "weights": seen,
        "optimizer": [np.array(slot) for slot in optimizer.variables],
        "shared": synchronizer.state(optimizer),
        "own": synchronizer.mode.rank_state(),
        "is_settled": synchronizer.is_settled,
    }
    synchronizer.settle([variable, *optimizer.variables])
    return {**result, "settled": np.array(variable)}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_delayed_applies_the_mean_of_the_step_before(warmup_steps):
    options = {"warmup_steps": warmup_steps}
    results = run_on_ranks(train, arguments=["Delayed", options, range(NUM_STEPS)])
    expected, weights = means(), np.ones(SHAPE)
    for step in range(NUM_STEPS):
        if step < warmup_steps:
            weights = weights - RATE * expected[step]
        elif step > warmup_steps:
            weights = weights - RATE * expected[step - 1]
        for result in results:
            np.testing.assert_allclose(result["weights"][step], weights, atol=1e-5)
            assert result["is_settled"]
    np.testing.assert_array_equal(results[0]["weights"][-1], results[1]["weights"][-1])
    assert int(results[0]["optimizer"][0]) == NUM_STEPS, "every step counts for schedules"


@pytest.mark.ranks(2)
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_delayed_and_compressed_loses_nothing(warmup_steps):
    options = {"warmup_steps": warmup_steps}
    arguments = ["Delayed", options, range(NUM_STEPS), None, 0.0, "int8"]
    results = run_on_ranks(train, arguments=arguments)
    applied = (1 - results[0]["weights"][-1]) / RATE
    residual = np.mean([result["own"]["residuals"][0] for result in results], axis=0)
    assert np.abs(residual).max() > 1e-4
    np.testing.assert_allclose(applied + residual, sum(means()[:-1]), atol=1e-4)


def local_sgd(period, common, average_momenta, momentum=0.0, outer=(1.0, 0.0, False)):
    """Returns the weights of both ranks after every step."""
    weights, momenta = [np.ones(SHAPE)] * 2, [np.zeros(SHAPE)] * 2
    rate, outer_momentum, nesterov = outer
    start, outer_state, seen = None, np.zeros(SHAPE), []
    for step in range(NUM_STEPS):
        gradients = [gradient_of(rank, step).astype(np.float64) for rank in range(2)]
        if step < common:
            gradients = [np.mean(gradients, axis=0)] * 2
        momenta = [momentum * m - RATE * g for m, g in zip(momenta, gradients, strict=True)]
        weights = [w + m for w, m in zip(weights, momenta, strict=True)]
        done = step + 1 - common
        if done <= 0:
            start = weights[0]
        elif done % period == 0:
            change = np.mean(weights, axis=0) - start
            outer_state = outer_momentum * outer_state + change
            move = outer_momentum * outer_state + change if nesterov else outer_state
            start = start + rate * move
            weights = [start] * 2
            if average_momenta:
                momenta = [np.mean(momenta, axis=0)] * 2
        seen.append(weights)
    return seen


LOCAL = {
    "plain": ({"period": 2}, {}),
    "every step": ({"period": 1, "warmup_steps": 3}, {}),
    "momenta kept": ({"period": 2}, {"momentum": 0.9}),
    "momenta averaged": ({"period": 2, "optimizer_state": "average"}, {"momentum": 0.9}),
    "SlowMo": ({"period": 2, "warmup_steps": 2, "outer_momentum": 0.5}, {}),
    "DiLoCo": (
        {"period": 3, "outer_momentum": 0.9, "nesterov": True, "outer_learning_rate": 0.7},
        {"momentum": 0.9},
    ),
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", LOCAL)
def test_local_sgd_as_its_formula(name):
    options, others = LOCAL[name]
    momentum = others.get("momentum", 0.0)
    arguments = ["LocalSGD", options, range(NUM_STEPS), None, momentum]
    results = run_on_ranks(train, arguments=arguments)
    outer = (
        options.get("outer_learning_rate", 1.0),
        options.get("outer_momentum", 0.0),
        options.get("nesterov", False),
    )
    common = max(1, options.get("warmup_steps", 0))
    is_averaged = options.get("optimizer_state") == "average"
    expected = local_sgd(options["period"], common, is_averaged, momentum, outer)
    for step in range(NUM_STEPS):
        for rank in range(2):
            got, wanted = results[rank]["weights"][step], expected[step][rank]
            np.testing.assert_allclose(got, wanted, atol=1e-5)
    is_apart = (NUM_STEPS - common) % options["period"] != 0
    for result in results:
        assert result["is_settled"] is not is_apart
    np.testing.assert_array_equal(results[0]["settled"], results[1]["settled"])
    if is_apart and outer == (1.0, 0.0, False):
        mean = np.mean(expected[-1], axis=0)
        np.testing.assert_allclose(results[0]["settled"], mean, atol=1e-5)


# At a moment at which the ranks are in step.
CONTINUED = {
    "delayed": ("Delayed", {"warmup_steps": 1}, 0.9, 4, "none"),
    "delayed, before the first": ("Delayed", {"warmup_steps": 4}, 0.9, 4, "none"),
    "delayed, compressed": ("Delayed", {}, 0.9, 4, "int8"),
    "local, momenta kept": ("LocalSGD", {"period": 2}, 0.9, 5, "none"),
    "local, outer": ("LocalSGD", {"period": 2, "outer_momentum": 0.5}, 0.9, 5, "none"),
    "local, compressed": ("LocalSGD", {"period": 2}, 0.9, 5, "int8"),
}


def continue_from(first, mode, options, steps, momentum, compression):
    import hvd_imgcls.keras as hvd

    return train(mode, options, steps, first[hvd.rank()], momentum, compression)


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("delayed, compressed", "local, outer")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in CONTINUED
    ],
)
def test_a_continued_training_ends_in_the_same_bits(name):
    mode, options, momentum, stop, compression = CONTINUED[name]
    arguments = [mode, options, range(NUM_STEPS), None, momentum, compression]
    whole = run_on_ranks(train, arguments=arguments)
    arguments[2] = range(stop)
    first = run_on_ranks(train, arguments=arguments)
    assert all(one["is_settled"] for one in first)
    later = [first, mode, options, range(stop, NUM_STEPS), momentum, compression]
    rest = run_on_ranks(continue_from, arguments=later)
    for got, expected in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(got["weights"][-1], expected["weights"][-1])
        for a, b in zip(got["optimizer"], expected["optimizer"], strict=True):
            np.testing.assert_array_equal(a, b)


def train_with_a_nan(warmup_steps):
    """Returns what the error says about a NaN of rank 1 in the fourth step."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import NonFiniteError

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(RATE),
        mode=hvd.Delayed(warmup_steps=warmup_steps),
        skip_non_finite=True,
    )
    model.compile(optimizer, "mse", jit_compile=False)
    x, y = np.ones((24, 2), np.float32), np.ones((24, 1), np.float32)
    if hvd.rank() == 1:
        x[13] = np.nan
    try:
        model.fit(
            x,
            y,
            batch_size=4,
            shuffle=False,
            verbose=0,
            callbacks=[
                hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                hvd.callbacks.NonFiniteCallback("stop"),
            ],
        )
    except NonFiniteError as error:
        return str(error)
    return ""


@pytest.mark.ranks(2)
@pytest.mark.parametrize("warmup_steps", [0, 10])
def test_the_step_and_the_rank_of_a_nan_are_named(warmup_steps):
    for message in run_on_ranks(train_with_a_nan, arguments=[warmup_steps]):
        assert "step 4: the gradient of rank 1 is NaN or infinite" in message


def refused(mode, options, keywords, optimizer="sgd"):
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    plain = keras.optimizers.SGD(RATE)
    if optimizer == "scaled":
        plain = keras.optimizers.LossScaleOptimizer(plain)
    try:
        hvd.DistributedOptimizer(plain, mode=getattr(hvd, mode)(**options), **keywords)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["LocalSGD", {"period": 0}, {}], "mode.period: got 0, expected 1 or more"),
        (["LocalSGD", {}, {"op": 1}], "expected Average with mode local_sgd"),
        (["Delayed", {}, {"op": 2}], "expected Average with mode delayed"),
        (["Delayed", {}, {}, "scaled"], "without loss scaling"),
        (["LocalSGD", {"outer_momentum": 1.0}, {}], "0 or more and below 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, expected):
    for message in run_on_ranks(refused, arguments=arguments):
        assert expected in message
