"""What `fit` asks the ranks before it starts, and while it runs over data of unknown length."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import sys
import time

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


class _Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def fit_with(directory):
    """Returns messages of errors, warnings and results of several calls of `fit`."""
    import keras

    import hvd_imgcls.keras as hvd

    rank, callbacks = hvd.rank(), keras.callbacks
    x = np.ones((4, 2), np.float32)
    seen = _Messages()
    logging.getLogger("hvd_imgcls.keras.callbacks").addHandler(seen)

    def fit(own, data=(x, x[:, :1]), **keywords):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
        inputs = {"x": data} if not isinstance(data, tuple) else dict(zip("xy", data, strict=True))
        return model.fit(
            **inputs,
            verbose=0,
            callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), *own],
            **keywords,
        ).history

    def fit_copy(copy_of):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
        broadcast = hvd.callbacks.BroadcastGlobalVariablesCallback(0)
        copy_of(model).fit(x, x[:, :1], verbose=0, callbacks=[broadcast])

    def warnings_of(own):
        seen.texts.clear()
        fit(own)
        return list(seen.texts)

    def batches(number):
        for _ in range(number):
            yield x, x[:, :1]

    class Extra(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["of the root"] = 1.0

    average = hvd.callbacks.MetricAverageCallback
    mine = f"{directory}/{rank}"
    stock = [
        callbacks.ModelCheckpoint(f"{directory}/all.keras"),
        callbacks.CSVLogger(f"{directory}/all.csv"),
        callbacks.BackupAndRestore(f"{directory}/backup-{rank}"),
    ]
    on_root = [
        callbacks.ModelCheckpoint(f"{mine}-root.keras"),
        callbacks.ModelCheckpoint(f"{mine}-batch.keras", save_freq=1),
        callbacks.CSVLogger(f"{mine}-root.csv"),
        callbacks.TensorBoard(f"{mine}-root.board", update_freq=1),
    ]
    result = {
        "average on the root": message_of(lambda: fit([average()] if rank == 0 else [])),
        "stock": warnings_of(stock),
        "again": warnings_of(stock),
        "on the root": warnings_of(on_root if rank == 0 else []),
        "other paths": warnings_of([callbacks.ModelCheckpoint(f"{mine}.keras")]),
        "rank_safe": warnings_of(hvd.callbacks.rank_safe(stock[:2])),
        "extra log": fit([*([Extra()] if rank == 0 else []), average()]),
        "equal generators": len(fit([], batches(3), epochs=1)["loss"]),
        "generators": message_of(lambda: fit([], batches(2 + rank))),
        "deepcopy": message_of(lambda: fit_copy(copy.deepcopy)),
        "pickle": message_of(lambda: fit_copy(lambda one: pickle.loads(pickle.dumps(one)))),
        "lengths": message_of(lambda: fit([], batch_size=1 + rank)),
    }
    logging.getLogger("hvd_imgcls.keras.callbacks").removeHandler(seen)
    return result


@pytest.mark.ranks(2)
def test_fit_compares_callbacks_and_batches_and_warns_of_shared_files(tmp_path):
    root, other = run_on_ranks(fit_with, arguments=[str(tmp_path)], timeout_seconds=90)
    assert "MetricAverageCallback on rank 0, (absent) on rank 1" in root["average on the root"]
    assert "fit.steps: 4 on rank 0, 2 on rank 1" in root["lengths"]
    assert "2 on rank 0, more than 2 on rank 1" in root["generators"]
    for case in ("deepcopy", "pickle"):
        assert "wrap the optimizer with hvd.DistributedOptimizer" in root[case]
    for case in ("deepcopy", "pickle", "average on the root", "lengths", "generators"):
        assert root[case] == other[case]
    assert [text.split(":")[0] for text in root["stock"]] == ["ModelCheckpoint", "CSVLogger"]
    assert all("ranks 0, 1 write " in text and "rank_safe" in text for text in root["stock"])
    for case in ("again", "on the root", "other paths", "rank_safe"):
        assert root[case] == [], case
    assert all(other[case] == [] for case in ("stock", "again", "on the root"))
    written = {path.name for path in tmp_path.glob("*root.*")}
    assert written == {"0-root.keras", "0-root.csv", "0-root.board"}
    assert (tmp_path / "0-batch.keras").exists()
    assert root["extra log"]["of the root"] == [1.0]
    assert root["extra log"]["loss"] == other["extra log"]["loss"]
    assert root["equal generators"] == other["equal generators"] == 1


def fork_and_exit():
    """Exit codes of children that a rank forks; None for one that does not end."""
    codes = []
    for status in (3, None):
        child = os.fork()
        if child == 0:
            # As a program would: the caller of this function catches SystemExit.
            try:
                sys.exit(status)
            finally:
                import atexit

                atexit._run_exitfuncs()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            ended, how = os.waitpid(child, os.WNOHANG)
            if ended:
                codes.append(os.waitstatus_to_exitcode(how))
                break
            time.sleep(0.02)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            codes.append(None)
    return codes


@pytest.mark.ranks(2)
def test_a_forked_child_ends_by_sys_exit():
    assert run_on_ranks(fork_and_exit, timeout_seconds=60) == [[3, 0]] * 2
