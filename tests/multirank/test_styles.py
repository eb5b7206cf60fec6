"""Ways to write a training that scripts for Horovod use: all leave equal weights on all ranks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def data():
    import hvd_imgcls.keras as hvd

    x = np.random.default_rng(hvd.rank()).normal(size=(8, 3)).astype(np.float32)
    return x, x[:, :1]


def layers():
    import keras

    return [keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)]


def train_on_batches_of_a_model_without_shape():
    """Sums over passes are made while the model's first step is traced."""
    import keras

    import hvd_imgcls.keras as hvd

    keras.utils.set_random_seed(1)
    model = keras.Sequential(layers())
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(hvd.DistributedOptimizer(optimizer, backward_passes_per_step=2), loss="mse")
    for _ in range(4):
        model.train_on_batch(*data())
    return model.get_weights()


def accumulate_in_keras():
    """Between updates the sums that Keras keeps differ between ranks, and may."""
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((3,)), *layers()])
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
    model.compile(hvd.DistributedOptimizer(optimizer, check_every_steps=1), loss="mse")
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(*data(), batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
    return model.get_weights()


def broadcast_after_the_first_update():
    """What Horovod's examples do in custom loops, inside the graph of the first step."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    model = keras.Sequential(layers())
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam(0.01), check_every_steps=1)

    @tf.function
    def step(x, y, first_batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        if first_batch:
            hvd.broadcast_variables(model.variables, root_rank=0)
            hvd.broadcast_variables(optimizer.variables, root_rank=0)

    x, y = data()
    for number in range(4):
        step(tf.constant(x), tf.constant(y), number == 0)
    return model.get_weights()


def two_networks(reduce_by):
    """Two optimizers in one step of a model without `call`; their checks run side by side."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = keras.Sequential([keras.Input((3,)), *layers()])
            self.other = keras.Sequential([keras.Input((3,)), *layers()])

        def compile(self, *optimizers):
            super().compile()
            self.optimizers = optimizers

        def train_step(self, batch):
            x, y = batch
            for network, optimizer in zip((self.one, self.other), self.optimizers, strict=True):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((network(x, training=True) - y) ** 2)
                if reduce_by == "tape":
                    tape = hvd.DistributedGradientTape(tape, check_every_steps=1)
                gradients = tape.gradient(loss, network.trainable_weights)
                optimizer.apply_gradients(zip(gradients, network.trainable_weights, strict=True))
            return {"loss": loss}

    def wrap(optimizer):
        if reduce_by == "tape":
            return optimizer
        return hvd.DistributedOptimizer(optimizer, check_every_steps=1)

    model = Two()
    model.compile(wrap(keras.optimizers.Adam(0.01)), wrap(keras.optimizers.SGD(0.01)))
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(*data(), batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    return model.get_weights()


def local_plain_variables():
    """Plain variables share a name, and so do their slots; one of them stays local."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam(0.1), check_every_steps=1)
    local, shared = tf.Variable([1.0]), tf.Variable([2.0])
    optimizer.register_local_var(local)
    for step in range(3):
        gradients = [tf.constant([1.0 - 2.0 * hvd.rank()]), tf.constant([1.0 + step * hvd.rank()])]
        optimizer.apply_gradients(zip(gradients, [local, shared], strict=True))
    return [shared.numpy()], local.numpy().item()


def load_with_a_factory(directory):
    """Horovod's tests name a function in the place of the optimizer's class."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    class Mine(keras.optimizers.RMSprop):
        pass

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), *layers()])
    model.compile(hvd.DistributedOptimizer(Mine(0.125)), loss="mse")
    model.train_on_batch(*data())
    path = f"{directory}/{hvd.rank()}.keras"
    model.save(path)

    def factory(**keywords):
        return hvd.DistributedOptimizer(Mine(**keywords), check_every_steps=7)

    loaded = hvd.load_model(path, custom_objects={"Mine": factory})
    assert synchronizer_of(loaded.optimizer).settings.check_every_steps == 7
    assert type(loaded.optimizer).__name__ == "Mine"
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    loaded.train_on_batch(*data())
    return loaded.get_weights()


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("training", "arguments"),
    [
        (train_on_batches_of_a_model_without_shape, []),
        (accumulate_in_keras, []),
        (broadcast_after_the_first_update, []),
        (two_networks, ["optimizer"]),
        (two_networks, ["tape"]),
    ],
)
def test_all_ranks_end_with_the_same_weights(training, arguments):
    first, second = run_on_ranks(training, arguments=arguments, timeout_seconds=60)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.ranks(2)
def test_a_local_plain_variable_does_not_look_like_a_difference():
    (first, first_local), (second, second_local) = run_on_ranks(local_plain_variables)
    np.testing.assert_array_equal(first, second)
    assert first_local < 1.0 < second_local


@pytest.mark.ranks(2)
def test_a_function_may_make_the_loaded_optimizer(tmp_path):
    first, second = run_on_ranks(load_with_a_factory, arguments=[str(tmp_path)])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
