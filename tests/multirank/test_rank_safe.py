"""Callbacks of Keras on ranks whose metrics differ: one decision, one file, one cause."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

# A metric by rank and epoch. The root's own always falls, that of rank 1 rises: the mean is
# 5, 4, 4, 5, 6 and is best in the second epoch.
SCORES = [[5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0], [5.0, 4.0, 5.0, 8.0, 11.0, 14.0, 17.0, 20.0]]


def make_model(**optimizer_keywords):
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.125, momentum=0.5, **optimizer_keywords)
    model.compile(hvd.DistributedOptimizer(optimizer), loss="mse", metrics=["mae"])
    return model


def make_parts():
    """Returns inputs and targets of this rank: other ones on each."""
    import hvd_imgcls.keras as hvd

    x = np.random.default_rng(7 + hvd.rank()).normal(size=(6, 3)).astype(np.float32)
    return x, x[:, :1] * (1 + hvd.rank())


def make_watchers():
    """Returns a callback that makes the score, and one that notes weights and epochs."""
    import keras

    import hvd_imgcls.keras as hvd

    class Score(keras.callbacks.Callback):
        is_collective = True

        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = SCORES[hvd.rank()][epoch]

    class Notes(keras.callbacks.Callback):
        is_collective = True

        def __init__(self):
            super().__init__()
            self.weights, self.num_batches = [], 0

        def on_train_batch_end(self, batch, logs=None):
            self.num_batches += 1

        def on_epoch_end(self, epoch, logs=None):
            self.weights.append([w.copy() for w in self.model.get_weights()])

    return Score(), Notes()


def fit(model, callbacks, epochs=8, **keywords):
    import hvd_imgcls.keras as hvd

    x, y = make_parts()
    broadcast = hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    return model.fit(
        x, y, batch_size=2, epochs=epochs, verbose=0, callbacks=[broadcast, *callbacks], **keywords
    )


def stock_callbacks(directory):
    import keras

    import hvd_imgcls.keras as hvd

    own = Path(directory) / f"rank-{hvd.rank()}"
    if hvd.rank() == 0:
        own.mkdir()
    score, notes = make_watchers()
    judge = {"monitor": "score", "mode": "min"}
    model = make_model()
    early = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True, **judge)
    history = fit(
        model,
        hvd.callbacks.rank_safe(
            [
                score,
                keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **judge),
                early,
                keras.callbacks.ModelCheckpoint(own / "best.keras", save_best_only=True, **judge),
                keras.callbacks.CSVLogger(own / "log.csv"),
                keras.callbacks.TensorBoard(own / "board"),
                keras.callbacks.TerminateOnNaN(),
                notes,
            ]
        ),
        validation_data=make_parts(),
    )
    return {
        "history": history.history,
        "rate": float(model.optimizer.learning_rate.numpy()),
        "weights": model.get_weights(),
        "state": [v.numpy() for v in model.optimizer.variables],
        "by_epoch": notes.weights,
    }


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stock")
    return directory, run_on_ranks(stock_callbacks, arguments=[str(directory)])


@pytest.mark.ranks(2)
def test_all_ranks_stop_together_by_the_metric_over_all_ranks(stock):
    for result in stock[1]:
        assert result["history"]["score"] == [5.0, 4.0, 4.0, 5.0]


@pytest.mark.ranks(2)
def test_all_ranks_have_the_learning_rate_that_the_root_has_chosen(stock):
    for result in stock[1]:
        assert result["history"]["learning_rate"] == [0.125, 0.125, 0.125, 0.0625]
        assert result["rate"] == 0.03125


@pytest.mark.ranks(2)
def test_all_ranks_have_the_weights_of_the_best_epoch(stock):
    first, second = (result for result in stock[1])
    best, last = first["by_epoch"][1], first["by_epoch"][3]
    for own, other, wanted in zip(first["weights"], second["weights"], best, strict=True):
        np.testing.assert_array_equal(own, other)
        np.testing.assert_array_equal(own, wanted)
    assert any((a != b).any() for a, b in zip(best, last, strict=True))
    for own, other in zip(first["state"], second["state"], strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.ranks(2)
def test_metrics_in_the_history_are_those_of_all_ranks(stock):
    first, second = (result["history"] for result in stock[1])
    assert set(first) >= {"loss", "mae", "val_loss", "val_mae", "score", "learning_rate"}
    assert first == second


@pytest.mark.ranks(2)
def test_files_are_written_once_by_the_root(stock):
    directory, _ = stock
    assert [path.name for path in directory.iterdir()] == ["rank-0"]
    names = {path.name for path in (directory / "rank-0").iterdir()}
    assert names == {"best.keras", "log.csv", "board"}
    assert len((directory / "rank-0" / "log.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.ranks(2)
def test_saved_checkpoint_is_plain_keras_with_the_best_weights(stock):
    import keras

    directory, results = stock
    model = keras.models.load_model(directory / "rank-0" / "best.keras")
    assert type(model.optimizer) is keras.optimizers.SGD
    for own, wanted in zip(model.get_weights(), results[0]["by_epoch"][1], strict=True):
        np.testing.assert_array_equal(own, wanted)


def deciding_callbacks():
    """A schedule, and a callback of one's own that changes all there is to change."""
    import keras

    import hvd_imgcls.keras as hvd

    calls = []

    class Own(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            calls.append(logs["loss"])
            if batch == 1:
                kernel = self.model.trainable_variables[0]
                kernel.assign(kernel * 0.5)

        def on_epoch_end(self, epoch, logs=None):
            calls.append("epoch")
            self.model.optimizer.momentum = 0.25
            logs["mine"] = np.float32(epoch)
            logs["score"] = None

    score, notes = make_watchers()
    rate = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    model = make_model(use_ema=True)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    callbacks = [score, hvd.callbacks.RankSafe([rate, swap]), hvd.callbacks.RankSafe(Own()), notes]
    history = fit(model, callbacks, epochs=2)
    return {
        "calls": calls,
        "history": history.history,
        "momentum": model.optimizer.momentum,
        "weights": [*itertools.chain(*notes.weights), *model.get_weights()],
        "state": [v.numpy() for v in model.optimizer.variables],
    }


@pytest.mark.ranks(2)
def test_whatever_a_callback_changes_reaches_all_ranks():
    first, second = run_on_ranks(deciding_callbacks)
    assert len(first["calls"]) == 8
    assert second["calls"] == []
    for result in (first, second):
        assert result["momentum"] == 0.25
        assert result["history"]["learning_rate"] == [0.0625, 0.03125]
        assert result["history"]["mine"] == [0, 1]
        assert result["history"]["score"] == [None, None]
    for key in ("weights", "state"):
        for own, other in zip(first[key], second[key], strict=True):
            np.testing.assert_array_equal(own, other)


def terminate_on_nan():
    """In its third batch, rank 1 alone has a loss that is not a number."""
    import keras

    import hvd_imgcls.keras as hvd

    _, notes = make_watchers()
    model = make_model()
    x, y = make_parts()
    y = y.copy()
    if hvd.rank() == 1:
        y[4:] = np.nan
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=hvd.callbacks.rank_safe(
            [
                hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                hvd.callbacks.MetricAverageCallback(),
                notes,
                keras.callbacks.TerminateOnNaN(),
            ]
        ),
    )
    return notes.num_batches


@pytest.mark.ranks(2)
def test_nan_on_one_rank_terminates_all_after_the_same_batch():
    assert run_on_ranks(terminate_on_nan) == [3, 3]


def failing_callbacks(directory):
    """Returns what every rank sees when a callback fails on the root."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls import distributed

    class Raise(keras.callbacks.Callback):
        def __init__(self, error, hook):
            super().__init__()
            setattr(self, hook, lambda *arguments, **keywords: self.fail(error))

        def fail(self, error):
            raise error

    class Freeze(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[0].trainable = False

    class Recompile(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.compile("sgd", "mse")

    blocked = Path(directory) / "a file" / "best.keras"
    failing = {
        "key": lambda: Raise(KeyError("val_loss"), "on_epoch_end"),
        "disk": lambda: keras.callbacks.ModelCheckpoint(blocked, monitor="loss", mode="min"),
        "monitor": lambda: keras.callbacks.EarlyStopping(monitor="nothing"),
        "exit": lambda: Raise(SystemExit(7), "on_train_begin"),
        "interrupt": lambda: Raise(KeyboardInterrupt(), "on_train_batch_end"),
        "end": lambda: Raise(RuntimeError("at the end"), "on_train_end"),
        "validation": lambda: Raise(OSError(28, "No space left on device"), "on_test_end"),
        "other": lambda: [keras.callbacks.TerminateOnNaN(), keras.callbacks.CSVLogger("x")][
            hvd.rank()
        ],
        "nan": lambda: keras.callbacks.TerminateOnNaN(raise_error=True),
        "recompile": Recompile,
        "freeze": Freeze,
    }
    seen = {}
    model = make_model()
    for name, make in failing.items():
        x, y = make_parts()
        if name in ("recompile", "freeze"):
            model = make_model()  # they leave the root with another one
        if name == "nan" and hvd.rank() == 1:
            y = y * np.nan
        try:
            model.fit(
                x,
                y,
                batch_size=2,
                verbose=0,
                validation_data=(x, y),
                callbacks=hvd.callbacks.rank_safe(
                    [hvd.callbacks.BroadcastGlobalVariablesCallback(0), make()]
                ),
            )
        except BaseException as error:
            seen[name] = f"{type(error).__name__}: {error}"
        distributed.current().barrier()
    return seen


@pytest.mark.ranks(2)
def test_a_callback_that_fails_on_the_root_ends_all_ranks_with_its_cause(tmp_path):
    (tmp_path / "a file").touch()
    root, other = run_on_ranks(failing_callbacks, arguments=[str(tmp_path)], timeout_seconds=60)
    told = "RootFailedError: a callback failed on rank 0: "
    assert root["key"] == "KeyError: 'val_loss'"
    assert other["key"] == f"{told}{root['key']} (in Raise.on_epoch_end, run on rank 0 for all)"
    for name, kind in {
        "disk": "NotADirectoryError",
        "monitor": "ValueError",
        "end": "RuntimeError: at the end",
        "validation": "OSError: [Errno 28]",
        "freeze": "ConfigError: callbacks: got 'a callback that recompiles",
        "recompile": "ConfigError: callbacks: got 'a callback that recompiles",
        "nan": "RuntimeError: NaN or Inf loss encountered at batch 0",
    }.items():
        assert root[name].startswith(kind), name
        assert other[name].startswith(f"{told}{kind}"), name
    assert root["exit"] == other["exit"] == "SystemExit: 7"
    assert root["interrupt"] == other["interrupt"] == "KeyboardInterrupt: "
    assert root["other"] == other["other"]
    assert "TerminateOnNaN on rank 0, CSVLogger on rank 1" in root["other"]
