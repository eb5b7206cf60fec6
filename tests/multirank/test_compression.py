"""Compressed reductions against references, what they forget, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.compression_references import (
    Largest,
    LowRank,
    Quantized,
    as_bfloat16,
    as_int8,
)
from tests.support.launch import run_on_ranks

SHAPES = {"a_kernel": (40, 30), "a_bias": (30,), "b_kernel": (3, 3, 8, 24)}
NUM_STEPS = 6
COMPRESSIONS = {
    "bf16": ("bf16", {}),
    "int8": ("int8", {"block_size": 32}),
    "top_k": ("top_k", {"fraction": 0.05}),
    "power_sgd": ("power_sgd", {"rank": 2}),
}
# Of what does not differ much between them.
SOME_SLOW = [
    name if name == "int8" else pytest.param(name, marks=pytest.mark.slow) for name in COMPRESSIONS
]


def gradients_of(rank, step):
    random = np.random.default_rng([rank, step])
    return [random.normal(size=shape).astype(np.float32) for shape in SHAPES.values()]


def make_optimizer(name, options, **keywords):
    import keras

    import hvd_imgcls.keras as hvd

    compression = getattr(hvd.Compression, name)(**options)
    return hvd.DistributedOptimizer(
        keras.optimizers.SGD(1.0), compression=compression, check_every_steps=1, **keywords
    )


def make_variables():
    import keras

    return [
        keras.Variable(np.zeros(shape, np.float32), name=name) for name, shape in SHAPES.items()
    ]


def make_step(optimizer, variables):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(gradients):
        optimizer.apply(gradients, variables)

    return step


def train(name, options, steps, state=None):
    """Returns the weights after every step, and the states at the end."""
    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    optimizer, variables = make_optimizer(name, options), make_variables()
    synchronizer = synchronizer_of(optimizer)
    if state is not None:
        for variable, value in zip(variables, state["weights"], strict=True):
            variable.assign(value)
        optimizer.build(variables)
        synchronizer.restore(optimizer, state["shared"])
        synchronizer.mode.restore_rank_state(state["own"])
    step, seen = make_step(optimizer, variables), []
    for number in steps:
        step(gradients_of(hvd.rank(), number))
        seen.append([np.array(v) for v in variables])
    return {
        "weights": seen,
        "shared": synchronizer.state(optimizer),
        "own": synchronizer.mode.rank_state(),
    }


def flat(arrays):
    return np.concatenate([np.asarray(array).reshape(-1) for array in arrays])


def references(name, options, size):
    """Returns what reduces which of the tensors together."""
    if name == "power_sgd":
        factors = [
            np.random.default_rng([0, number]).standard_normal((SHAPES[key][-1], 2))
            for number, key in enumerate(("a_kernel", "b_kernel"))
        ]
        # The order of the bucket does not matter: matrices are reduced one by one.
        return [
            (LowRank(SHAPES["a_kernel"], factors[0]), [0]),
            (LowRank((72, 24), factors[1]), [2]),
        ]
    reference = {
        "bf16": lambda: Quantized(size, 1, as_bfloat16),
        "int8": lambda: Quantized(size, 32, as_int8(32)),
        "top_k": lambda: Largest(options.get("fraction")),
    }[name]()
    # In one bucket, last first.
    return [(reference, [2, 0])]


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", COMPRESSIONS)
def test_as_the_reference(name):
    kind, options = COMPRESSIONS[name]
    results = run_on_ranks(train, arguments=[kind, options, range(NUM_STEPS)])
    parts = references(kind, options, 2)
    weights = [np.zeros(shape, np.float64) for shape in SHAPES.values()]
    for step in range(NUM_STEPS):
        gradients = [gradients_of(rank, step) for rank in range(2)]
        weights[1] = weights[1] - np.mean([one[1] for one in gradients], axis=0)
        for reference, indices in parts:
            together = np.stack([flat([one[i] for i in indices]) for one in gradients])
            mean, start = reference.mean(together), 0
            for index in indices:
                end = start + weights[index].size
                weights[index] = weights[index] - mean[start:end].reshape(weights[index].shape)
                start = end
        for got, wanted in zip(results[0]["weights"][step], weights, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=2e-4)
    for got, same in zip(
        flat(results[0]["weights"][-1]), flat(results[1]["weights"][-1]), strict=True
    ):
        assert got == same


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", SOME_SLOW)
def test_nothing_is_lost_only_late(name):
    kind, options = COMPRESSIONS[name]
    results = run_on_ranks(train, arguments=[kind, options, range(NUM_STEPS)])
    sums = [
        np.mean([[gradients_of(r, s)[i] for s in range(NUM_STEPS)] for r in range(2)], axis=0).sum(
            0
        )
        for i in range(3)
    ]
    residuals = [np.mean([r["own"]["residuals"][k] for r in results], axis=0) for k in range(2)]
    assert any(np.abs(r).max() > 1e-4 for r in residuals), "nothing was compressed"
    applied = [-w for w in results[0]["weights"][-1]]
    np.testing.assert_allclose(applied[0] + residuals[0], sums[0], atol=1e-4)
    np.testing.assert_allclose(applied[1], sums[1], atol=1e-5)
    np.testing.assert_allclose(applied[2] + residuals[1], sums[2], atol=1e-4)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", SOME_SLOW)
def test_a_continued_training_ends_in_the_same_bits(name):
    kind, options = COMPRESSIONS[name]
    whole = run_on_ranks(train, arguments=[kind, options, range(NUM_STEPS)])
    first = run_on_ranks(train, arguments=[kind, options, range(3)])
    rest = run_on_ranks(continue_from, arguments=[kind, options, first])
    for got, expected in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(flat(got["weights"][-1]), flat(expected["weights"][-1]))
        for a, b in zip(got["own"]["residuals"], expected["own"]["residuals"], strict=True):
            np.testing.assert_array_equal(a, b)


def continue_from(kind, options, first):
    import hvd_imgcls.keras as hvd

    state = first[hvd.rank()]
    return train(kind, options, range(3, NUM_STEPS), {**state, "weights": state["weights"][-1]})


def train_with_a_nan(kind, options):
    """Returns weights and residuals before and after an update with NaN on rank 1."""
    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    optimizer = make_optimizer(kind, options, skip_non_finite=True)
    variables = make_variables()
    step = make_step(optimizer, variables)
    seen = []
    for number in range(3):
        gradients = gradients_of(hvd.rank(), number)
        if number == 1 and hvd.rank() == 1:
            gradients[0][3, 4] = np.nan
        step(gradients)
        residuals = synchronizer_of(optimizer).mode.rank_state()["residuals"]
        seen.append(flat([*[np.array(v) for v in variables], *residuals]))
    return seen


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", SOME_SLOW)
def test_what_is_not_finite_leaves_no_trace(name):
    kind, options = COMPRESSIONS[name]
    for seen in run_on_ranks(train_with_a_nan, arguments=[kind, options]):
        np.testing.assert_array_equal(seen[1], seen[0])
        assert np.isfinite(seen[2]).all()
        assert (seen[2] != seen[1]).any()


@pytest.mark.ranks(2)
def test_warm_up_and_excluded_variables_are_not_compressed():
    options = {"block_size": 32, "warmup_steps": 2, "exclude": ["b_*"]}
    results = run_on_ranks(train, arguments=["int8", options, range(4)])
    exact = run_on_ranks(train, arguments=["bf16", {"warmup_steps": 100}, range(4)])
    weights, expected = results[0]["weights"], exact[0]["weights"]
    for step in range(4):
        np.testing.assert_allclose(weights[step][2], expected[step][2], atol=1e-6)
    np.testing.assert_allclose(weights[1][0], expected[1][0], atol=1e-6)
    assert np.abs(weights[2][0] - expected[2][0]).max() > 1e-3
    assert len(results[0]["own"]["residuals"]) == 1
