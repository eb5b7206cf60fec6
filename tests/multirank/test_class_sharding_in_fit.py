"""A divided last layer in a `fit` of one's own, against the whole model on one rank."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

NUM_CLASSES, FEATURES, BATCH, STEPS, EPOCHS = 11, 6, 12, 5, 2
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keras.md"
(PROGRAM,) = re.findall(
    r"^## Very many classes\n\n```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.S | re.M
)
OPTIMIZERS = {
    "sgd": {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.9}},
    "adamw": {"class_name": "AdamW", "config": {"learning_rate": 0.01, "weight_decay": 0.1}},
}


def make_model(seed):
    """Returns a network with a last layer of `NUM_CLASSES`."""
    import keras

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(9, activation="relu"),
            keras.layers.Dense(NUM_CLASSES, name="logits"),
        ]
    )


def batches(rank, size, seed=0):
    """Returns this rank's rows of the global batches: inputs, classes and weights."""
    import tensorflow as tf

    random = np.random.default_rng(seed)
    inputs = random.normal(size=(STEPS, BATCH, FEATURES)).astype(np.float32)
    classes = random.integers(0, NUM_CLASSES, size=(STEPS, BATCH))
    weights = random.uniform(0.5, 1.5, size=(STEPS, BATCH)).astype(np.float32)
    own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    return tf.data.Dataset.from_tensor_slices(
        (inputs[:, own], classes[:, own], weights[:, own])
    ).repeat()


def train_whole(name):
    """Returns the logs of every epoch, and the weights, of the whole model on one rank."""
    import keras

    model = make_model(seed=0)
    model.compile(
        keras.optimizers.get(OPTIMIZERS[name]),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )

    def dense(inputs, classes, weights):
        import tensorflow as tf

        return inputs, tf.one_hot(classes, NUM_CLASSES), weights

    history = model.fit(
        batches(0, 1).map(dense),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        validation_data=batches(0, 1, seed=1).map(dense),
        validation_steps=STEPS,
        verbose=0,
    )
    return history.history, [np.array(v) for v in model.weights]


def train_divided(name, path, parts):
    """Returns the logs, and the weights of the file that `save` wrote; what goes on from it."""
    import keras

    import hvd_imgcls.keras as hvd

    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    # Every rank builds other weights: those of the root count.
    model = hvd.shard_classes(make_model(seed=rank), parts=parts)
    optimizer = hvd.DistributedOptimizer(keras.optimizers.get(OPTIMIZERS[name]))
    model.compile(optimizer, label_smoothing=0.1)
    history = model.fit(
        batches(rank, size),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        validation_data=batches(rank, size, seed=1),
        validation_steps=STEPS,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
        ],
        verbose=0,
    )
    before = model.evaluate(batches(rank, size, seed=2), steps=STEPS, verbose=0)
    model.save(path)
    loaded = keras.saving.load_model(path)
    again = hvd.shard_classes(loaded, parts=parts)
    weights = [np.array(v) for v in keras.saving.load_model(path).weights]
    again.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), label_smoothing=0.1)
    after = again.evaluate(batches(rank, size, seed=2), steps=STEPS, verbose=0)
    sizes = [int(np.prod(v.shape)) for v in model.layers[-1].weights]
    return history.history, weights, before, after, sizes, type(loaded).__name__


def compare(whole, divided, size):
    for history, weights, before, after, sizes, loaded in divided:
        assert sorted(history) == sorted(whole[0])
        for key, values in whole[0].items():
            np.testing.assert_allclose(history[key], values, rtol=1e-4, err_msg=key)
        for got, expected in zip(weights, whole[1], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert before == after
        assert sizes[0] <= 9 * -(-NUM_CLASSES // size)
        assert loaded == "Sequential"


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_gives_the_model_of_one_rank(name, tmp_path):
    (whole,) = run_on_ranks(train_whole, 1, arguments=[name])
    compare(whole, run_on_ranks(train_divided, 2, arguments=[name, tmp_path / "m.keras", None]), 2)


@pytest.mark.slow
@pytest.mark.ranks(3)
@pytest.mark.parametrize(("size", "parts"), [(1, None), (2, 1), (3, None)])
def test_fit_on_other_numbers_of_ranks_and_parts(size, parts, tmp_path):
    (whole,) = run_on_ranks(train_whole, 1, arguments=["adamw"])
    divided = run_on_ranks(train_divided, size, arguments=["adamw", tmp_path / "m.keras", parts])
    compare(whole, divided, parts or size)


def refused(cases):
    """Returns the message of every error."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import HvdImgclsError

    hvd.init()
    messages = {}
    for name in cases:
        try:
            REFUSED[name](keras, hvd)
        except HvdImgclsError as error:
            messages[name] = str(error)
    return messages


def compiling(make_optimizer=lambda keras, hvd: keras.optimizers.SGD(), options=None, **keywords):
    """Returns a function that compiles a divided model."""

    def run(keras, hvd):
        optimizer = make_optimizer(keras, hvd)
        if options is not None:
            optimizer = hvd.DistributedOptimizer(optimizer, **options(hvd))
        hvd.shard_classes(make_model(0)).compile(optimizer, **keywords)

    return run


def of(name, **keywords):
    return lambda keras, hvd: getattr(keras.optimizers, name)(**keywords)


NONE = lambda hvd: {}  # noqa: E731
REFUSED = {
    "hvd.DistributedOptimizer": compiling(),
    "Lamb": compiling(of("Lamb"), NONE),
    "Muon": compiling(of("Muon"), NONE),
    "clipping by norm": compiling(of("SGD", global_clipnorm=1.0), NONE),
    "LossScaleOptimizer": compiling(
        lambda keras, hvd: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), NONE
    ),
    "op SUM": compiling(options=lambda hvd: {"op": hvd.Sum}),
    "mode delayed": compiling(options=lambda hvd: {"mode": hvd.Delayed()}),
    "lossy compression": compiling(options=lambda hvd: {"compression": hvd.Compression.int8()}),
    "shard_optimizer_state": compiling(options=lambda hvd: {"shard_optimizer_state": True}),
    "scale_local_gradients": compiling(options=lambda hvd: {"scale_local_gradients": False}),
    "metrics": compiling(options=NONE, metrics=["accuracy"]),
    "label_smoothing": compiling(options=NONE, label_smoothing=1.0),
    "7 parts of 11 classes": lambda keras, hvd: hvd.shard_classes(make_model(0), parts=7),
    "sampled_fraction": lambda keras, hvd: hvd.shard_classes(make_model(0), sampled_fraction=0),
    "a model that ends in Activation": lambda keras, hvd: hvd.shard_classes(
        keras.Sequential([make_model(0), keras.layers.Activation("softmax")])
    ),
    "arguments of Keras": lambda keras, hvd: hvd.shard_classes(make_model(0)).save("m.h5"),
}


def test_what_cannot_work_is_refused_by_name():
    (messages,) = run_on_ranks(refused, 1, arguments=[list(REFUSED)])
    assert sorted(messages) == sorted(REFUSED)
    for name, message in messages.items():
        assert name.replace("arguments of Keras", "m.h5") in message, message


def fit_unequal_batches(number):
    """Returns the error of a batch that has other sizes on other ranks."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    hvd.init()
    model = hvd.shard_classes(make_model(0))
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)))
    rows = 3 if hvd.rank() else 3 + number
    try:
        model.fit(np.ones((rows, FEATURES), np.float32), np.zeros(rows), batch_size=8, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        return str(error)
    return ""


@pytest.mark.ranks(2)
def test_batches_of_different_sizes_are_an_error_on_all_ranks():
    messages = run_on_ranks(fit_unequal_batches, 2, arguments=[1], fresh=True)
    assert all("drop_remainder" in message for message in messages), messages


def draw_in_fit(fractions):
    """Returns the losses of every epoch for each fraction."""
    import keras

    import hvd_imgcls.keras as hvd

    hvd.init()
    losses = []
    for fraction in fractions:
        model = hvd.shard_classes(make_model(0), sampled_fraction=fraction, seed=1)
        model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)))
        # Only two classes in a batch: others are drawn.
        data = batches(hvd.rank(), hvd.size()).map(lambda x, y, w: (x, y % 2, w))
        history = model.fit(data, epochs=2, steps_per_epoch=STEPS, verbose=0).history
        losses.append(history["loss"])
    return losses


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_drawn_classes_in_fit():
    for whole, same, drawn in run_on_ranks(draw_in_fit, 2, arguments=[[1.0, 0.99, 0.5]]):
        assert whole == same
        assert all(few < many for few, many in zip(drawn, whole, strict=True))


def run_the_program(folder):
    """Runs the program of the documentation."""
    with contextlib.chdir(folder):
        exec(compile(PROGRAM, "docs/keras.md", "exec"), {})


@pytest.mark.ranks(2)
def test_the_program_of_the_documentation(tmp_path):
    import keras

    run_on_ranks(run_the_program, 2, arguments=[tmp_path])
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.output_shape == (None, 1000)
