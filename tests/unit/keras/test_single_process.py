"""One rank without Horovod: what is wrapped trains exactly as what is not."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication import adasum
from hvd_imgcls.keras.synchronization.comparison import shared_state
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    distributed.stop()  # what another test of this process has started
    for name in ("HOROVOD_RANK", "HOROVOD_SIZE", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)
    hvd.init()
    assert isinstance(distributed.current(), SingleProcessCollectives)
    yield
    hvd.shutdown()


def fit(wrap, callbacks):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(wrap(keras.optimizers.Adam(0.125)), loss="mse")
    x = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
    history = model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    return history.history, [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


def test_fit_with_the_wrapped_optimizer_equals_plain_fit_bitwise():
    plain_history, plain = fit(lambda optimizer: optimizer, [])
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
        hvd.callbacks.LearningRateWarmupCallback(0.125, warmup_epochs=1),
    ]
    history, wrapped = fit(hvd.DistributedOptimizer, callbacks)
    np.testing.assert_allclose(history["loss"], plain_history["loss"], rtol=1e-6)
    assert history["lr"] == [0.125, 0.125]
    for a, b in zip(plain, wrapped, strict=True):
        np.testing.assert_array_equal(a, b)


def test_operations_return_what_one_rank_holds():
    value = tf.constant([1.0, 2.0])
    for result in (hvd.allreduce(value), hvd.allgather(value), hvd.broadcast(value, 0)):
        np.testing.assert_array_equal(result, value)
    with pytest.raises(ConfigError, match="root_rank"):
        hvd.broadcast(value, 1)


def test_rate_of_a_schedule_follows_its_formula_and_rescales_the_velocity():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    model.compile(optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    optimizer.momentums[0].assign([[8.0]])
    callback = hvd.callbacks.LearningRateScheduleCallback(0.5, 0.5, start_epoch=1, end_epoch=3)
    callback.set_model(model)
    rates = []
    for epoch in range(4):
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_begin(0)
        rates.append(float(optimizer.learning_rate.numpy()))
    assert rates == [0.5, 0.5, 0.25, 0.25]
    assert optimizer.momentums[0].numpy().item() == 4.0


def test_slot_belongs_to_the_variable_with_the_longest_fitting_name():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    optimizer.build(model.trainable_variables)
    local = [keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="kernel_2")]
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    optimizer.build(local)
    optimizer.register_local_var(local[0])
    shared = shared_state(synchronizer_of(optimizer).reduction, optimizer, local)
    names = [v.name for v in shared]
    assert "kernel_2" in names
    assert "kernel_2_momentum" in names
    assert "kernel" not in names
    assert "kernel_momentum" not in names


def test_adasum_adds_what_is_orthogonal_and_averages_what_is_parallel():
    a, b = tf.constant([1.0, 0.0]), tf.constant([0.0, 2.0])
    np.testing.assert_allclose(adasum._combine([a, b]), [1.0, 2.0])
    np.testing.assert_allclose(adasum._combine([a, a]), a)
    np.testing.assert_allclose(adasum._combine([a, a * 0.0]), a)
    general = [np.array([1.0, 2.0]), np.array([3.0, -1.0])]
    dot = general[0] @ general[1]
    expected = sum((1 - dot / (2 * g @ g)) * g for g in general)
    tensors = [tf.constant(g, tf.float32) for g in general]
    np.testing.assert_allclose(adasum._combine(tensors), expected, rtol=1e-6)


def test_compression_halves_what_travels_and_leaves_integers_alone():
    sent, context = hvd.Compression.fp16.compress(tf.constant([1.0, 1e-9, 1e6]))
    assert sent.dtype == tf.float16
    back = hvd.Compression.fp16.decompress(sent, context)
    assert back.dtype == tf.float32
    np.testing.assert_array_equal(back, [1.0, 0.0, np.inf])
    for dtype in ("float16", "float64"):
        sent, context = hvd.Compression.fp16.compress(tf.ones([2], dtype))
        assert sent.dtype == tf.float16
        assert hvd.Compression.fp16.decompress(sent, context).dtype == dtype
    for dtype in ("uint8", "int8", "uint16", "int16", "int32", "int64", "bool"):
        whole = tf.cast([1, 0], dtype)
        assert hvd.Compression.fp16.compress(whole) == (whole, None)
        assert hvd.Compression.fp16.decompress(whole, None) is whole


def test_a_deep_copy_is_wrapped_too():
    plain = keras.optimizers.SGD(0.1, momentum=0.9)
    wrapped = hvd.DistributedOptimizer(plain, backward_passes_per_step=2)
    copied = copy.deepcopy(wrapped)
    assert synchronizer_of(copied) is not synchronizer_of(wrapped)
    assert synchronizer_of(copied).settings.backward_passes_per_step == 2
    assert copied.get_config() == wrapped.get_config()


def test_partial_tape_takes_horovods_positions():
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 1))
    shared = ["", "", hvd.Compression.none, False, hvd.Average, 1.0, 0, None]
    by_position = [*shared, hvd.global_process_set, layer, False]
    with tf.GradientTape() as plain:
        loss = tf.reduce_sum(layer(tf.ones([1, 1])))
    tape = hvd.PartialDistributedGradientTape(plain, *by_position)
    variables = layer.trainable_variables
    local, reduced = tape.get_local_and_global_gradients(loss, variables)
    assert [(source, float(gradient[0, 0])) for source, gradient in local] == [(variables[0], 1.0)]
    assert reduced == []
    for more, keywords in (([0, 0], {}), ([], {"local_layers": layer})):
        with pytest.raises(TypeError):
            hvd.PartialDistributedGradientTape(plain, *by_position, *more, **keywords)
