"""Steps traced for batches whose size, or whose whole shape, is not static."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

GLOBAL_BATCH = 8
# The last batch is smaller, so that Keras does not know the size of any.
NUM_EXAMPLES = 36


def make_model():
    """A feed-forward layer of a transformer, on `[batch, time, features]`, behind an LSTM."""
    import keras

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.LSTM(6, return_sequences=True),
            keras.layers.Dense(12, activation="gelu"),
            keras.layers.Dense(6),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )


def make_embedding_model():
    import keras

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(7, 4),
            keras.layers.Dense(6),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )


def make_data(is_tokens=False):
    """This rank's part of every global batch, and how many examples that is."""
    from hvd_imgcls import distributed

    random = np.random.default_rng(7)
    x = random.normal(size=(NUM_EXAMPLES, 5, 4)).astype(np.float32)
    if is_tokens:
        x = random.integers(0, 7, size=(NUM_EXAMPLES, 5))
    y = random.integers(0, 3, len(x))
    topology = distributed.current().topology
    batches = np.split(np.arange(NUM_EXAMPLES), range(GLOBAL_BATCH, NUM_EXAMPLES, GLOBAL_BATCH))
    rows = np.concatenate([np.split(batch, topology.size)[topology.rank] for batch in batches])
    return x[rows], y[rows], GLOBAL_BATCH // topology.size


def without_shapes(x, y, share, *, has_rank):
    import tensorflow as tf

    def batches():
        for begin in range(0, len(x), share):
            yield x[begin : begin + share], y[begin : begin + share]

    images = tf.TensorSpec([None] * x.ndim if has_rank else None, tf.float32)
    labels = tf.TensorSpec([None], tf.int64)
    return tf.data.Dataset.from_generator(batches, output_signature=(images, labels))


def fit(data, keywords):
    """Trains by `fit` and returns the weights."""
    import keras

    import hvd_imgcls.keras as hvd

    is_tokens = data == "tokens"
    model = make_embedding_model() if is_tokens else make_model()
    model.compile(
        optimizer=hvd.DistributedOptimizer(keras.optimizers.SGD(0.1), **keywords),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y, share = make_data(is_tokens)
    arguments = {"x": x, "y": y, "batch_size": share, "shuffle": False}
    if data == "no shapes":
        arguments = {"x": without_shapes(x, y, share, has_rank=True)}
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(**arguments, epochs=2, verbose=0, callbacks=callbacks)
    return [np.asarray(w) for w in model.get_weights()]


def fit_all(jobs):
    return [fit(*job) for job in jobs]


JOBS = [
    ("arrays", {}),
    ("arrays", {"groups": 1}),
    ("arrays", {"backward_passes_per_step": 2}),
    ("no shapes", {}),
    ("tokens", {}),
    ("tokens", {"sparse_as_dense": True}),
]


@pytest.mark.ranks(2)
def test_batches_of_any_size_train_as_on_one_rank():
    one = run_on_ranks(fit_all, 1, arguments=[JOBS])[0]
    first, second = run_on_ranks(fit_all, arguments=[JOBS])
    for job in range(len(JOBS)):
        for a, b, c in zip(one[job], first[job], second[job], strict=True):
            np.testing.assert_array_equal(b, c)
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def adasum_and_fp16():
    from hvd_imgcls.distributed import ReduceOp
    from hvd_imgcls.keras import Compression

    return fit("arrays", {"op": ReduceOp.ADASUM}), fit("arrays", {"compression": Compression.fp16})


@pytest.mark.ranks(2)
def test_other_ways_to_reduce_take_gradients_of_unknown_shape():
    for first, second in zip(*run_on_ranks(adasum_and_fp16), strict=True):
        for a, b in zip(first, second, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


def gradients_of_tape(op_name):
    """The reduced gradients of a loss in variables and in what the tape watched."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    model = make_model()
    x, y, _ = make_data()

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32), tf.TensorSpec([None], tf.int64)])
    def step(images, labels):
        with hvd.DistributedGradientTape(tf.GradientTape(), op=getattr(hvd, op_name)) as tape:
            tape.watch(images)
            logits = model(tf.ensure_shape(images, [None, 5, 4]))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [*[v.value for v in model.trainable_variables], images])

    return [g.numpy() for g in step(tf.constant(x), tf.constant(y))]


@pytest.mark.ranks(2)
@pytest.mark.parametrize("op_name", ["Average", "Adasum"])
def test_a_tape_takes_what_it_watched_in_any_shape(op_name):
    first, second = run_on_ranks(gradients_of_tape, arguments=[op_name])
    assert first[-1].shape == (NUM_EXAMPLES // 2, 5, 4)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    if op_name == "Average":
        one = run_on_ranks(gradients_of_tape, 1, arguments=[op_name])[0]
        for a, b in zip(one[:-1], first[:-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def build_without_a_shape():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import SetupError

    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    try:
        model.fit(without_shapes(*make_data(), has_rank=False), verbose=0, callbacks=callbacks)
    except SetupError as error:
        return str(error)
    return None


@pytest.mark.ranks(2)
def test_a_model_that_cannot_be_built_from_its_data_is_an_error():
    for message in run_on_ranks(build_without_a_shape):
        assert "declare keras.Input" in message
