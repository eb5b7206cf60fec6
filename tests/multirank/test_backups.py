"""Training that ends in the middle and is continued by Keras's `BackupAndRestore`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import RankError, run_on_ranks

EPOCHS = 4


class CrashError(Exception):
    pass


def train(directory, crash=None, wrap=None, **options):
    """Trains with Adam and returns what tells two trainings apart.

    Args:
        directory: Where `BackupAndRestore` writes; None for training without it.
        crash: Called at the beginning of every batch, with the numbers of epoch and batch.
        wrap: Makes the list of callbacks for `fit` from a `BackupAndRestore`.
        **options: For `BackupAndRestore`.
    """
    import keras

    import hvd_imgcls.keras as hvd

    keras.utils.set_random_seed(1 + hvd.rank())
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam(0.125))
    model.compile(optimizer, loss="mse")
    x = np.random.default_rng(7 + hvd.rank()).normal(size=(8, 3)).astype(np.float32)

    class Notes(keras.callbacks.Callback):
        is_collective = True
        epoch = 0

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            if crash is not None:
                crash(self.epoch, batch)

    own = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
    ]
    if directory is not None:
        backup = keras.callbacks.BackupAndRestore(directory, **options)
        own += (wrap or hvd.callbacks.rank_safe)([backup])
    history = model.fit(
        x,
        x[:, :1],
        batch_size=2,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[*own, Notes()],
    )
    return {
        "epochs": history.epoch,
        "loss": history.history["loss"],
        "weights": [w.tolist() for w in model.get_weights()],
        "state": [v.numpy().tolist() for v in optimizer.variables],
    }


def raise_in(epoch, batch):
    def crash(now, at):
        if (now, at) == (epoch, batch):
            raise CrashError

    return crash


def crashed_and_continued(directory):
    """All ranks fail in the third epoch, after its second batch, and start again."""
    import keras

    import hvd_imgcls.keras as hvd

    results = {"straight": train(None)}
    for name, options in {
        "epoch": {},
        "batches": {"save_freq": 1},
        "double": {"double_checkpoint": True, "delete_checkpoint": False},
    }.items():
        path = f"{directory}/{name}"
        with pytest.raises(CrashError):
            train(path, raise_in(2, 2), **options)
        results[name] = train(path, **options)
    results["left"] = sorted(os.listdir(directory))

    def on_root(backups):
        return backups if hvd.rank() == 0 else []

    results["on the root"] = message_of(lambda: train(f"{directory}/root", wrap=on_root))
    with pytest.raises(CrashError):
        train(f"{directory}/own-{hvd.rank()}", raise_in(2, 0), wrap=list)
    if hvd.rank() == 1:
        Path(f"{directory}/own-1/training_metadata.json").write_text('{"epoch": 1, "batch": 0}')
    results["other epochs"] = message_of(lambda: train(f"{directory}/own-{hvd.rank()}", wrap=list))

    def with_local_layers():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        optimizer = hvd.PartialDistributedOptimizer(
            keras.optimizers.SGD(0.1), local_layers=model.layers[-1:]
        )
        model.compile(optimizer, loss="mse")
        backup = keras.callbacks.BackupAndRestore(f"{directory}/local")
        model.fit(np.ones((2, 3)), np.ones((2, 1)), callbacks=hvd.callbacks.rank_safe([backup]))

    results["local layers"] = message_of(with_local_layers)
    return results


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    directory = tmp_path_factory.mktemp("backups")
    return run_on_ranks(crashed_and_continued, arguments=[str(directory)], timeout_seconds=120)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("case", ["epoch", "double"])
def test_continued_training_equals_one_that_was_not_interrupted(continued, case):
    for result in continued:
        assert result["straight"]["epochs"] == [0, 1, 2, 3]
        assert result[case]["epochs"] == [2, 3]
        assert result[case]["loss"] == result["straight"]["loss"][2:]
        for key in ("weights", "state"):
            assert result[case][key] == continued[0]["straight"][key]


@pytest.mark.ranks(2)
def test_a_backup_within_an_epoch_repeats_the_epoch_on_all_ranks(continued):
    root, other = (result["batches"] for result in continued)
    assert root["epochs"] == other["epochs"] == [2, 3]
    assert root["weights"] == other["weights"]
    assert root["state"] == other["state"]
    iterations = [result["batches"]["state"][0] for result in continued]
    # 4 epochs of 4 batches, and the 2 of the third epoch that Keras repeats.
    assert iterations == [18, 18]


@pytest.mark.ranks(2)
def test_backups_are_written_and_deleted_by_the_root(continued):
    for result in continued:
        assert result["left"] == ["double"]


@pytest.mark.ranks(2)
def test_backups_that_would_separate_the_ranks_are_refused(continued):
    root, other = continued
    for case, text in {
        "on the root": "BackupAndRestore on rank 0 only",
        "other epochs": "first epoch that BackupAndRestore restored: 2 on rank 0, 1 on rank 1",
        "local layers": "BackupAndRestore and local variables",
    }.items():
        assert root[case] == other[case]
        assert text in root[case], case
    for case in ("on the root", "other epochs"):
        assert "hvd.callbacks.rank_safe" in root[case]


def kill_in_third_epoch(directory):
    def kill(epoch, batch):
        if (epoch, batch) == (2, 1):
            os.kill(os.getpid(), signal.SIGKILL)

    train(directory, kill)


def straight_and_continued(directory):
    return {"straight": train(None), "continued": train(directory)}


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_training_that_was_killed_continues_in_new_processes(tmp_path):
    with pytest.raises(RankError):
        run_on_ranks(kill_in_third_epoch, arguments=[str(tmp_path / "backup")], fresh=True)
    assert (tmp_path / "backup").is_dir()
    results = run_on_ranks(straight_and_continued, arguments=[str(tmp_path / "backup")], fresh=True)
    for result in results:
        assert result["continued"]["epochs"] == [2, 3]
        for key in ("weights", "state"):
            assert result["continued"][key] == results[0]["straight"][key]
    assert not (tmp_path / "backup").exists()
