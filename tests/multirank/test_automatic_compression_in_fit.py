"""`compression: auto` in a plain `fit`, with a tape, and where it is refused."""

import numpy as np
import pytest

from tests.multirank.test_automatic_compression import NUM_STEPS, NUM_TRIALS, automatic
from tests.multirank.test_compression import flat, gradients_of
from tests.support.launch import run_on_ranks


def fit(compression, **keywords):
    """Returns the weights after `fit`, and what was chosen."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    hvd.init()
    keras.utils.set_random_seed(0)
    passes, steps = keywords.get("passes", 1), keywords.get("steps_per_execution", 1)
    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(33), keras.layers.Dense(5)])
    if isinstance(compression, dict):
        compression = automatic(**compression)
    elif compression != "none":
        compression = getattr(hvd.Compression, compression)(warmup_steps=NUM_TRIALS)
    else:
        compression = hvd.Compression.none
    inner = {"gradient_accumulation_steps": 2} if keywords.get("by_keras") else {}
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(0.1, **inner),
        compression=compression,
        backward_passes_per_step=passes,
        average_aggregated_gradients=True,
    )
    model.compile(optimizer, "mse", steps_per_execution=steps, jit_compile=False)
    random = np.random.default_rng(hvd.rank())
    count = 4 * passes * (2 if inner else 1) * NUM_STEPS
    x, y = random.normal(size=(count, 7)), random.normal(size=(count, 5))
    model.fit(
        tf.data.Dataset.from_tensor_slices((x.astype(np.float32), y.astype(np.float32))).batch(4),
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
        verbose=0,
    )
    chosen = synchronizer_of(model.optimizer).mode.chosen().get("compression")
    return flat([np.asarray(one) for one in model.trainable_variables]), chosen


def fit_both(keywords):
    return [fit(compression, **keywords) for compression in ({"choice": 2}, "int8", "none")]


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    "keywords",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 5}, marks=pytest.mark.slow),
        {"passes": 2, "steps_per_execution": 2},
        pytest.param({"by_keras": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_in_a_plain_fit(keywords):
    for automatically, fixed, exact in run_on_ranks(fit_both, arguments=[keywords]):
        assert automatically[1] == "int8"
        np.testing.assert_array_equal(automatically[0], fixed[0])
        assert (automatically[0] != exact[0]).any()


def gradients_of_tape():
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    hvd.init()
    variable = tf.Variable(tf.zeros((4, 3)))
    compression = automatic(2)

    @tf.function(autograph=False)
    def step(factor):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(variable * factor)
        return hvd.DistributedGradientTape(tape, compression=compression).gradient(loss, variable)

    factors = [gradients_of(hvd.rank(), number)[0][:4, :3] for number in range(NUM_STEPS)]
    return factors, [step(factor).numpy() for factor in factors]


@pytest.mark.ranks(2)
def test_of_a_tape():
    (factors, got), (others, same) = run_on_ranks(gradients_of_tape)
    for number, mean in enumerate(np.mean([factors, others], axis=0)):
        np.testing.assert_array_equal(got[number], same[number])
        difference = np.abs(got[number] - mean).max()
        assert difference < 1e-6 if number < NUM_TRIALS else 1e-4 < difference < 0.1


def refused():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    hvd.init()
    messages = []
    for keywords in (
        {"mode": hvd.Delayed()},
        {"mode": hvd.LocalSGD()},
        {"op": hvd.Adasum},
        {"shard_optimizer_state": True},
        {"gradient_predivide_factor": 2.0},
    ):
        with pytest.raises(ConfigError) as error:
            hvd.DistributedOptimizer(
                keras.optimizers.SGD(), compression=hvd.Compression.auto, **keywords
            )
        messages.append(str(error.value))
    for options in (
        {"candidates": ("fp16",)},
        {"candidates": ()},
        {"candidates": ("int8", "int8")},
        {"min_gain": 1.0},
        {"rounds": 0},
    ):
        with pytest.raises(ConfigError, match=r"compression\.") as error:
            hvd.Compression.auto(**options)
        messages.append(str(error.value))
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ConfigError, match="loss scal"):
        hvd.DistributedOptimizer(scaled, compression=hvd.Compression.auto())
    return messages


@pytest.mark.ranks(2)
def test_what_is_refused():
    messages = run_on_ranks(refused)[0]
    assert "auto, with mode delayed" in messages[0]
    assert "auto, with mode local_sgd" in messages[1]
    assert "fp16" in messages[5]
