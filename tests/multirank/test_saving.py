"""Saved files are plain Keras, and training goes on exactly from them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def build_and_fit(path, epochs, precision):
    """Trains `epochs`, saves, trains `epochs` more; returns the final state."""
    import keras

    import hvd_imgcls.keras as hvd

    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            hvd.SyncBatchNormalization(),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.9)
    optimizer = keras.optimizers.Adam(schedule, use_ema=True, weight_decay=0.01)
    model.compile(hvd.DistributedOptimizer(optimizer), loss="mse", metrics=["mae"])
    _fit(model, epochs)
    if hvd.rank() == 0:
        model.save(path)
    hvd.barrier()
    _fit(model, epochs)
    return _state(model)


def load_and_fit(path, epochs, precision):
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    keras.config.set_dtype_policy(precision)
    model = hvd.load_model(path)
    assert synchronizer_of(model.optimizer) is not None
    assert type(model.layers[1]) is hvd.SyncBatchNormalization
    _fit(model, epochs)
    return _state(model)


def _fit(model, epochs):
    import hvd_imgcls.keras as hvd

    random = np.random.default_rng(hvd.rank())
    x = random.normal(size=(8, 4)).astype(np.float32)
    model.fit(
        x,
        x[:, :1],
        batch_size=4,
        shuffle=False,
        epochs=epochs,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
    )


def _state(model):
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


PLAIN_KERAS = """
import sys
sys.modules["hvd_imgcls"] = None  # importing it would fail
sys.modules["horovod"] = None
import json, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
print(json.dumps([type(model.optimizer).__module__, type(model.optimizer).__name__]))
"""


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize("precision", ["mixed_float16", "float32"])
def test_a_saved_model_is_plain_keras_and_goes_on_exactly(tmp_path, precision):
    path = tmp_path / "model.keras"
    arguments = [str(path), 2, precision]
    uninterrupted = run_on_ranks(build_and_fit, arguments=arguments)
    resumed = run_on_ranks(load_and_fit, arguments=arguments)
    for rank in range(2):
        for a, b in zip(uninterrupted[rank], resumed[rank], strict=True):
            np.testing.assert_array_equal(a, b)
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    assert "hvd_imgcls" not in text
    assert "Distributed" not in text
    optimizer = json.loads(text)["compile_config"]["optimizer"]
    # compile() records the optimizer that it was given, before it wraps it for float16
    assert (optimizer["module"], optimizer["class_name"]) == ("keras.optimizers", "Adam")
    finished = subprocess.run(
        [sys.executable, "-c", PLAIN_KERAS, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout.splitlines()[-1])[0].startswith("keras.src.optimizers")


def optimizer_identity():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    plain = keras.optimizers.SGD(0.25, momentum=0.5, name="mine")
    wrapped = hvd.DistributedOptimizer(plain, backward_passes_per_step=2)
    copy = wrapped.from_config(wrapped.get_config())
    wrapped.learning_rate = 0.125
    return {
        "is": isinstance(wrapped, keras.optimizers.SGD),
        "plain is not wrapped": synchronizer_of(plain) is None,
        "shared": float(plain.learning_rate.numpy()),
        "config": wrapped.get_config() == plain.get_config(),
        "copy": (
            copy.get_config()["momentum"],
            synchronizer_of(copy).settings.backward_passes_per_step,
            float(copy.learning_rate.numpy()),
        ),
        "serialized": keras.optimizers.serialize(wrapped) == keras.optimizers.serialize(plain),
        "same config as Horovod's test asks": wrapped.__class__.from_config(
            wrapped.get_config()
        ).get_config()
        == wrapped.get_config(),
    }


@pytest.mark.ranks(2)
def test_wrapped_optimizer_is_what_it_wraps():
    for facts in run_on_ranks(optimizer_identity):
        assert facts.pop("shared") == 0.125
        assert facts.pop("copy") == (0.5, 2, 0.25)
        assert all(facts.values()), facts


def wrong_arguments():
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import HvdImgclsError

    sgd = keras.optimizers.SGD
    attempts = {
        "twice": lambda: hvd.DistributedOptimizer(hvd.DistributedOptimizer(sgd())),
        "string": lambda: hvd.DistributedOptimizer("sgd"),
        "op": lambda: hvd.DistributedOptimizer(sgd(), op=hvd.Min),
        "passes": lambda: hvd.DistributedOptimizer(sgd(), backward_passes_per_step=0),
        "predivide": lambda: hvd.DistributedOptimizer(
            sgd(), op=hvd.Sum, gradient_predivide_factor=2.0
        ),
        "missing file": lambda: hvd.load_model("/nowhere/model.keras"),
        "object": lambda: hvd.broadcast_object(object()),
    }
    messages = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except HvdImgclsError as error:
            messages[name] = str(error)
    return messages


@pytest.mark.ranks(2)
def test_wrong_arguments_are_named_with_the_fix():
    first, second = run_on_ranks(wrong_arguments)
    assert set(first) == set(second)
    assert set(first) == {
        "twice",
        "string",
        "op",
        "passes",
        "predivide",
        "missing file",
        "object",
    }
    assert "/nowhere/model.keras" in first["missing file"]
    assert "allow_pickle=True" in first["object"]


def objects():
    import hvd_imgcls.keras as hvd

    rank = hvd.rank()
    value = {"epoch": 3 + rank, "x": np.arange(3) + rank, "t": (1, [None, "a"]), "b": b"\\x00"}
    sent = hvd.broadcast_object(value, root_rank=1)
    gathered = hvd.allgather_object(rank)
    pickled = hvd.broadcast_object(complex(1, rank), root_rank=1, allow_pickle=True)
    return sent, gathered, pickled


@pytest.mark.ranks(2)
def test_objects_travel_without_pickle():
    for sent, gathered, pickled in run_on_ranks(objects):
        assert (sent["epoch"], sent["t"], sent["b"]) == (4, (1, [None, "a"]), b"\\x00")
        np.testing.assert_array_equal(sent["x"], [1, 2, 3])
        assert gathered == [0, 1]
        assert pickled == complex(1, 1)
