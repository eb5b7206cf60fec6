"""What needs no other rank: which callbacks are wrapped, and what their batches cost."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.callbacks.batch_hooks import BatchHook, kind_of, overrides
from hvd_imgcls.keras.callbacks.non_finite import describe_non_finite
from hvd_imgcls.keras.checks.non_finite import all_finite
from hvd_imgcls.workflows.training.user_callbacks import configured_callbacks

END = "on_train_batch_end"
callbacks = keras.callbacks


class Own(callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        pass


KINDS = [
    (callbacks.EarlyStopping(), BatchHook.NONE),
    (callbacks.CSVLogger("x"), BatchHook.NONE),
    (callbacks.ModelCheckpoint("x.keras"), BatchHook.WRITES),
    (callbacks.ModelCheckpoint("x.keras", save_freq=3), BatchHook.WRITES),
    (callbacks.BackupAndRestore("x", save_freq=3), BatchHook.WRITES),
    (callbacks.ModelCheckpoint("x.keras", save_freq=3, save_best_only=True), BatchHook.DECIDES),
    (callbacks.TerminateOnNaN(), BatchHook.DECIDES),
    (Own(), BatchHook.DECIDES_AND_MAY_CHANGE_WEIGHTS),
    (callbacks.LambdaCallback(on_epoch_end=print), BatchHook.NONE),
    (callbacks.LambdaCallback(on_train_batch_end=print), BatchHook.DECIDES_AND_MAY_CHANGE_WEIGHTS),
]


@pytest.mark.parametrize(("callback", "kind"), KINDS)
def test_batches_cost_what_the_callback_needs(callback, kind):
    assert kind_of(END, [callback], watches_weights=True) is kind
    without = kind_of(END, [callback], watches_weights=False)
    assert without is min(kind, BatchHook.DECIDES)
    assert overrides(callback, END) is (kind is not BatchHook.NONE)


def test_the_most_active_of_several_callbacks_counts():
    several = [callback for callback, _ in KINDS[:7]]
    assert kind_of(END, several, watches_weights=True) is BatchHook.DECIDES
    assert kind_of("on_train_batch_begin", several, watches_weights=True) is BatchHook.NONE


def test_only_callbacks_that_know_nothing_of_ranks_are_wrapped():
    class Collective(callbacks.Callback):
        is_collective = True

    ours, theirs = hvd.callbacks.MetricAverageCallback(), callbacks.EarlyStopping()
    both = [callbacks.CSVLogger("x"), theirs]
    collective, history = Collective(), callbacks.History()
    result = hvd.callbacks.rank_safe([*both, ours, collective, theirs, history])
    assert [type(one).__name__ for one in result] == [
        "RankSafe",
        "MetricAverageCallback",
        "Collective",
        "RankSafe",
        "History",
    ]
    assert result[0].callbacks == both
    # Metrics are brought together once.
    assert [one._average is not None for one in (result[0], result[3])] == [True, False]


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        (hvd.callbacks.MetricAverageCallback(), "pass it to fit directly"),
        (hvd.callbacks.RankSafe([]), "pass it to fit directly"),
        (print, "pass Keras callbacks"),
    ],
)
def test_what_cannot_run_on_one_rank_is_refused(wrong, fix):
    with pytest.raises(ConfigError, match=fix):
        hvd.callbacks.RankSafe([wrong])


def test_a_run_with_a_plan_refuses_a_callback_that_chooses_its_first_epoch():
    run = types.SimpleNamespace(collectives=SingleProcessCollectives())
    with pytest.raises(ConfigError, match="leave it to the plan"):
        configured_callbacks(run, [callbacks.BackupAndRestore("x")])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [tf.float16, tf.float32])
def test_one_bad_element_is_found(bad, dtype):
    good = tf.constant(np.linspace(-60000, 60000, 600).reshape(20, 30), dtype)
    spoilt = tf.tensor_scatter_nd_update(good, [[19, 3]], tf.constant([bad], dtype))
    slices = tf.IndexedSlices(spoilt, tf.range(20))
    assert all_finite([good, None, tf.constant([6e4, 6e4], dtype)]).numpy()
    assert not all_finite([good, spoilt]).numpy()
    assert not all_finite([good, slices]).numpy()
    # Of both signs: their sum is NaN.
    assert not all_finite([spoilt, -spoilt]).numpy()


def test_a_sum_that_overflows_is_told_apart_from_a_bad_rank():
    found = [{"is_mine": False, "examples": []}] * 2
    assert "all ranks are finite, but their sum is not" in describe_non_finite(
        found, epoch=1, step=2
    )
