"""What is planted is found: before the first step, at it, and later, on all ranks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def message_of(attempt):
    """Calls `attempt` and returns the text of the mismatch it ends in."""
    import tensorflow as tf

    from hvd_imgcls.errors import RankMismatchError
    from hvd_imgcls.failures import process_state

    try:
        attempt()
    except RankMismatchError as error:
        return str(error)
    except tf.errors.OpError as error:
        if "RankMismatchError" in str(error):
            return str(process_state.graph_error)
        return repr(error)
    return None


def fit(optimizer, callbacks, num_examples=8, units=2, epochs=3, build=True):
    import keras

    layers = [keras.Input((2,))] if build else []
    model = keras.Sequential([*layers, keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    x = np.random.default_rng(1).normal(size=(num_examples, 2)).astype(np.float32)
    model.fit(x, x[:, :1], batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)
    return model


def plant(kind):
    return message_of(PLANTED[kind])


def broadcast():
    import hvd_imgcls.keras as hvd

    return hvd.callbacks.BroadcastGlobalVariablesCallback(0)


def wrapped(momentum=0.9, **keywords):
    import keras

    import hvd_imgcls.keras as hvd

    return hvd.DistributedOptimizer(keras.optimizers.SGD(0.1, momentum=momentum), **keywords)


def rank():
    import hvd_imgcls.keras as hvd

    return hvd.rank()


def change_one_bit_on_rank_one(variable_of):
    """Returns a callback that changes a variable by the last bit of one number."""
    import keras

    class Change(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0 and rank() == 1:
                target = variable_of(self.model)
                value = target.numpy()
                value[0, 0] = np.nextafter(value[0, 0], np.float32(9))
                target.assign(value)

    return Change()


def see_different_data():
    """Returns a callback that doubles the inputs of rank 1."""
    import keras

    class Change(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            plain_step = self.model.train_step
            self.model.train_step = lambda data: plain_step((data[0] * (1.0 + rank()), data[1]))
            self.model.make_train_function(force=True)

    return Change()


def fit_without_wrapping():
    import keras

    class Own(keras.optimizers.SGD):  # one of Keras's own is refused before the first step
        pass

    fit(Own(0.1), [broadcast(), see_different_data()])


def fit_with_a_reduction_that_does_nothing():
    from hvd_imgcls import distributed

    distributed.current().grouped_allreduce = lambda tensors, **keywords: list(tensors)
    fit(wrapped(), [broadcast(), see_different_data()])


def fit_and_change(variable_of):
    fit(wrapped(check_every_steps=1), [broadcast(), change_one_bit_on_rank_one(variable_of)])


PLANTED = {
    "different momentum": lambda: fit(wrapped(momentum=0.9 - 0.1 * rank()), [broadcast()]),
    "different number of steps": lambda: fit(wrapped(), [broadcast()], num_examples=8 + 4 * rank()),
    "different shape": lambda: fit(wrapped(), [], units=2 + rank()),
    "different setting": lambda: fit(wrapped(backward_passes_per_step=1 + rank()), []),
    "forgotten broadcast": lambda: fit(wrapped(), []),
    "forgotten broadcast of a model built by its first batch": lambda: fit(
        wrapped(), [], build=False
    ),
    "optimizer not wrapped": fit_without_wrapping,
    "weight": lambda: fit_and_change(lambda model: model.layers[1].kernel),
    "optimizer state": lambda: fit_and_change(lambda model: model.optimizer.momentums[2]),
    "reduction that does nothing": fit_with_a_reduction_that_does_nothing,
}


EXPECTED = {
    "different momentum": ["optimizer.config.momentum: 0.9 on rank 0, 0.8 on rank 1"],
    "different number of steps": ["fit.steps: 2 on rank 0, 3 on rank 1", "steps_per_epoch"],
    "different shape": ["variable.0 kernel: float32[2, 2] on rank 0, float32[2, 3] on rank 1"],
    "different setting": ["optimizer.backward_passes_per_step: 1 on rank 0, 2 on rank 1"],
    "forgotten broadcast": [
        "ranks differ after 1 update:",
        "dense/kernel (2 of 10 differ): rank 1 differs from rank 0",
        "BroadcastGlobalVariablesCallback",
    ],
    "forgotten broadcast of a model built by its first batch": [
        "ranks differ after 1 update:",
        "BroadcastGlobalVariablesCallback",
    ],
    "optimizer not wrapped": ["ranks differ after 2 updates", "hvd.DistributedOptimizer"],
    "weight": ["ranks differ after 2 updates", "dense_1/kernel (1 of 10 differ)"],
    "optimizer state": ["ranks differ after 2 updates", "dense_1_kernel_momentum (1 of 10 differ)"],
    "reduction that does nothing": ["reduced gradient of", "/kernel", "is wrong on rank"],
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("kind", EXPECTED)
def test_planted_difference_stops_all_ranks_with_one_message(kind):
    first, second = run_on_ranks(
        plant, arguments=[kind], timeout_seconds=60, fresh=kind == "reduction that does nothing"
    )
    assert first == second
    assert first is not None
    for part in EXPECTED[kind]:
        assert part in first


def fit_with_ragged_last_batch():
    """Rank 1's last batch has another shape, so that rank alone traces its step again."""
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    x = np.ones((8 - hvd.rank(), 2), np.float32)
    model.fit(
        x,
        x[:, :1],
        batch_size=4,
        epochs=2,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
    )
    return model.get_weights()


@pytest.mark.ranks(2)
def test_a_rank_that_traces_its_step_again_does_not_hang_the_others():
    first, second = run_on_ranks(fit_with_ragged_last_batch, timeout_seconds=60)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def compile_with_xla(how):
    import logging

    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.errors import ConfigError

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))
    warnings = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("hvd_imgcls.keras.optimizer.hooks").addHandler(handler)
    if how == "explicit":
        model.compile(optimizer, loss="mse", jit_compile=True)
        try:
            model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        except ConfigError as error:
            return str(error)
        return None
    # There is no accelerator here; Keras asks this function whether there is one.
    plain = tf.config.list_physical_devices
    tf.config.list_physical_devices = lambda *a: [tf.config.PhysicalDevice("GPU:0", "GPU")]
    try:
        model.compile(optimizer, loss="mse", jit_compile="auto")
        other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        other.compile(keras.optimizers.SGD(0.1), loss="mse", jit_compile="auto")
    finally:
        tf.config.list_physical_devices = plain
    return model.jit_compile, other.jit_compile, warnings


@pytest.mark.ranks(2)
def test_xla_asked_for_is_refused_with_the_fix():
    for message in run_on_ranks(compile_with_xla, arguments=["explicit"]):
        assert "jit_compile" in message
        assert "jit_compile=False" in message


@pytest.mark.ranks(2)
def test_xla_chosen_by_keras_is_left_off_and_said():
    for ours, plain, warnings in run_on_ranks(compile_with_xla, arguments=["auto"]):
        assert ours is False
        assert plain is True
        assert len(warnings) == 1
        assert "XLA is disabled" in warnings[0]
