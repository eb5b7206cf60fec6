"""Groups of gradients: the same sums, sent while others are computed, and chosen by measurement."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_automatic_compression import Messages, require_same_weights
from tests.support.launch import run_on_ranks

SHAPES = [(7, 5), (5,), (30, 40), (40,), (3, 3, 4, 8), (8,), (16, 9)]
NUM_WAYS, NUM_TRIALS, NUM_STEPS = 5, 30, 34
COUNTS = ["1", "2", "4", "8", "16"]


def gradients_of(rank, step):
    random = np.random.default_rng([rank, step])
    return [random.normal(size=shape).astype(np.float32) for shape in SHAPES]


def train(groups, num_steps, states=None, **keywords):
    """Returns the weights after every step, the states at the end, what was chosen, and the log."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    hvd.init()
    if "compression" in keywords:
        keywords["compression"] = getattr(hvd.Compression, keywords["compression"])
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(1.0), groups=groups, check_every_steps=1, **keywords
    )
    variables = [
        keras.Variable(np.zeros(shape, np.float32), name=f"v{index}")
        for index, shape in enumerate(SHAPES)
    ]
    synchronizer, messages, begin = synchronizer_of(optimizer), Messages(), 0
    with messages:
        if states is not None:
            state = states[hvd.rank()]
            for variable, value in zip(variables, state["weights"][-1], strict=True):
                variable.assign(value)
            optimizer.build(variables)
            synchronizer.restore(optimizer, state["shared"])
            synchronizer.mode.restore_rank_state(state["own"])
            begin = len(state["weights"])

        @tf.function(autograph=False)
        def step(gradients):
            optimizer.apply(gradients, variables)

        seen = []
        for number in range(begin, num_steps):
            step(gradients_of(hvd.rank(), number))
            seen.append([np.array(v) for v in variables])
    return {
        "weights": seen,
        "shared": synchronizer.state(optimizer),
        "own": synchronizer.mode.rank_state(),
        "chosen": synchronizer.mode.chosen(),
        "messages": messages.texts,
    }


def train_each(groups):
    return [train(count, 4)["weights"] for count in groups]


@pytest.mark.ranks(2)
def test_two_ranks_have_the_same_bits_in_any_number_of_groups():
    # The sum of two numbers does not depend on their order.
    for first, *others in run_on_ranks(train_each, arguments=[[None, 1, 2, 3, 5, 16]]):
        for other in others:
            require_same_weights(other, first)


@pytest.mark.ranks(2)
def test_by_measurement_with_a_reason_and_the_same_bits():
    results = run_on_ranks(train, arguments=["auto", NUM_STEPS])
    exact = run_on_ranks(train, arguments=[None, NUM_STEPS])
    for got, expected in zip(results, exact, strict=True):
        require_same_weights(got["weights"], expected["weights"])
    assert results[0]["chosen"] == results[1]["chosen"]
    (message,) = results[0]["messages"]
    assert message.startswith(f"groups of gradients {results[0]['chosen']['groups']} (a step with ")
    assert message.count("ms") == NUM_WAYS
    # It counts what it has sent as any allreduce does.
    assert exact[0]["chosen"] == {}
    first = run_on_ranks(train, arguments=["auto", 12])
    rest = run_on_ranks(train, arguments=["auto", NUM_STEPS, first])
    require_same_weights(rest[0]["weights"], exact[0]["weights"][12:])
    assert rest[0]["shared"]["mode"]["trials"]["turns"] == NUM_TRIALS
    again = run_on_ranks(train, arguments=["auto", NUM_STEPS + 2, results])
    assert again[0]["chosen"] == results[0]["chosen"]
    assert again[0]["messages"] == [
        f"groups of gradients {results[0]['chosen']['groups']}, as measured before"
    ]


@pytest.mark.ranks(2)
def test_with_error_feedback():
    for result in run_on_ranks(train_compressed):
        assert len(result["own"]["residuals"]) == 4
        assert result["chosen"]["groups"] in [int(count) for count in COUNTS]
        means = np.mean([[gradients_of(r, s)[2] for s in range(NUM_STEPS)] for r in range(2)], 0)
        assert np.abs(result["weights"][-1][2] + means.sum(0)).max() < 0.2


def train_compressed():
    return train("auto", NUM_STEPS, compression="int8")


@pytest.mark.slow
@pytest.mark.ranks(3)
def test_three_ranks_remain_equal():
    # Compared after every update.
    results = run_on_ranks(train, 3, arguments=["auto", NUM_STEPS])
    for other in results[1:]:
        require_same_weights(other["weights"], results[0]["weights"])


def reduce_slowly(groups, compression):
    """Returns for every step how long before the first layer's gradient the last one's is reduced.

    The gradient of the first layer is there half a second after that of the last.
    """
    import time

    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.choice import make_mode
    from hvd_imgcls.keras.synchronization.reduction import GradientReduction
    from hvd_imgcls.keras.synchronization.settings import ReductionSettings

    hvd.init()
    chosen = getattr(hvd.Compression, compression)
    settings = ReductionSettings(groups=groups, compression=chosen)
    reduction = GradientReduction(make_mode(settings, f"slow_{groups}_{compression}"))
    variables = [tf.Variable(tf.zeros((50, 50))) for _ in range(2)]
    reduction.mode.build(variables)

    def wait(value):
        time.sleep(0.02)
        return value

    def now(value):
        return np.float64(time.time())

    def call(function, tensor, dtype):
        # Stateful functions, and timestamps, would be called in the order of this script.
        return tf.numpy_function(function, [tensor], dtype, stateful=False)

    @tf.function(autograph=False)
    def step():
        last = variables[1] + 1.0
        # Many short operations, as in a backward pass: a long one may keep the only thread.
        passed = variables[0][0, 0] + 1.0
        for _ in range(25):
            passed = call(wait, passed, tf.float32)
        first = variables[0] + passed
        reduced = reduction.reduce([first, last], variables)
        return call(now, first, tf.float64) - call(now, reduced[1], tf.float64)

    return [float(step()) for _ in range(4)]


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("groups", "compression", "travels"),
    [
        pytest.param(1, "none", [False, False, False], marks=pytest.mark.slow),
        (2, "none", [True, True, True]),
        # In two groups, in four, and in eight; in one before.
        pytest.param("auto", "none", [True, True, True], marks=pytest.mark.slow),
        # With bf16, and sent again without, with int8 likewise, and without compression.
        pytest.param(2, "auto", [False, False, True], marks=pytest.mark.slow),
    ],
)
def test_what_is_there_first_is_sent_first(groups, compression, travels):
    # With a single thread, what follows the reduction would run after the others.
    threads = {"TF_NUM_INTEROP_THREADS": "2", "HVD_IMGCLS_PIN": "0"}
    arguments = [groups, compression]
    for found in run_on_ranks(reduce_slowly, arguments=arguments, environment=threads):
        # The first step traces, and checks.
        assert [ahead > 0.2 for ahead in found[1:]] == travels, found
        assert [ahead < 0.0 for ahead in found[1:]] == [not one for one in travels], found


def refused():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    hvd.init()
    messages = []
    for keywords in (
        {"groups": "many"},
        {"groups": -1},
        {"mode": hvd.Delayed()},
        {"mode": hvd.LocalSGD()},
        {"op": hvd.Adasum},
        {"shard_optimizer_state": True},
        {"compression": hvd.Compression.auto()},
    ):
        with pytest.raises(ConfigError, match="groups") as error:
            hvd.DistributedOptimizer(keras.optimizers.SGD(), **{"groups": "auto", **keywords})
        messages.append(str(error.value))
    return messages


@pytest.mark.ranks(2)
def test_what_is_refused():
    messages = run_on_ranks(refused)[0]
    assert "auto, with mode delayed" in messages[2]
    assert "auto, with compression auto" in messages[-1]
