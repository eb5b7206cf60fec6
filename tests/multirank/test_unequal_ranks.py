"""Ranks that differ where they must be equal: one error on all of them, and no deadlock."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def message_of(action):
    """Returns the message of the error that `action` raises, None if it raises none."""
    from hvd_imgcls import errors, failures

    try:
        action()
    except errors.HvdImgclsError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # TensorFlow's, around the error of a graph
        cause, failures.process_state.graph_error = failures.process_state.graph_error, None
        return f"{type(error).__name__}: {error}" if cause is None else str(cause)
    return None


def metric_that_returns_its_variable():
    """The custom metric of Keras's guide, whose result is its own variable."""
    import keras

    import hvd_imgcls.keras as hvd

    class Total(keras.metrics.Metric):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            self.total = self.add_weight(name="total", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(keras.ops.sum(y_true))

        def result(self):
            return self.total

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.0))
    model.compile(optimizer, loss="mse", metrics=[Total(name="total")])
    y = np.full((2, 1), 6.0 + 5.0 * hvd.rank())  # 12 and 22
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
    ]
    history = model.fit(y, y, validation_data=(y, y), verbose=0, callbacks=callbacks).history
    local = float(model.evaluate(y, y, verbose=0, return_dict=True)["total"])
    over_ranks = hvd.callbacks.metrics_over_ranks(model)["total"]
    return history["total"][0], history["val_total"][0], over_ranks, local


@pytest.mark.ranks(2)
def test_a_metric_whose_result_is_its_own_variable_is_reduced():
    results = run_on_ranks(metric_that_returns_its_variable)
    assert [result[:3] for result in results] == [(34.0, 34.0, 34.0)] * 2
    assert [result[3] for result in results] == [12.0, 22.0]  # the local state is kept


def send_what_differs():
    """Returns the message for each pair of ranks that would send something else."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    first = hvd.rank() == 0

    def fit(optimizer, layers=1, build=False):
        hidden = [keras.layers.Dense(2) for _ in range(layers)]
        model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
        model.compile(hvd.DistributedOptimizer(optimizer), loss="mse")
        callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
        model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0, callbacks=callbacks)

    many, few = [tf.Variable(tf.zeros([2])) for _ in "abc"], [tf.Variable(tf.zeros([2]))]
    long = [tf.Variable(tf.zeros([3]))]

    @tf.function
    def broadcast_in_graph():
        hvd.broadcast_variables(few if first else many, 0)

    return {
        "class": message_of(
            lambda: fit(keras.optimizers.Adam() if first else keras.optimizers.SGD())
        ),
        "layers": message_of(lambda: fit(keras.optimizers.SGD(), 1 if first else 2)),
        "fewer": message_of(lambda: hvd.broadcast_variables(few if first else many, 0)),
        "graph": message_of(broadcast_in_graph),
        "shape": message_of(lambda: hvd.broadcast_variables(few if first else long, 0)),
        "root": message_of(lambda: hvd.broadcast_variables(few, hvd.rank())),
        "statistics": message_of(
            lambda: hvd.average_moving_statistics(
                keras.Sequential(
                    [keras.Input((2,)), *([keras.layers.BatchNormalization()] if first else [])]
                )
            )
        ),
        "equal": message_of(lambda: hvd.broadcast_variables(many, 0)),
    }


@pytest.mark.ranks(2)
def test_what_is_sent_is_compared_before_it_is_sent():
    first, second = run_on_ranks(send_what_differs, timeout_seconds=60)
    assert first == second
    assert first["equal"] is None
    for case, text in {
        "class": "optimizer.class: Adam on rank 0, SGD on rank 1",
        "layers": "model.variables: 4 on rank 0, 6 on rank 1",
        "fewer": "number of variables: 1 on rank 0, 3 on rank 1",
        "graph": "number of variables: 1 on rank 0, 3 on rank 1",
        "shape": "float32[2] on rank 0, float32[3] on rank 1",
        "statistics": "number of variables: 2 on rank 0, 0 on rank 1",
        "root": "root_rank: 0 on rank 0, 1 on rank 1",
    }.items():
        assert text in first[case], case
        assert "to fix it:" in first[case]


def embeddings_of_other_shapes():
    """Model-parallel embeddings: the local layer has another number of rows on every rank."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()

    def make():
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Embedding(3 + rank, 2), keras.layers.Dense(1)]
        )
        return model, model.layers[0]

    x = np.full((2, 1), rank, np.float32)
    model, local = make()
    optimizer = hvd.PartialDistributedOptimizer(
        keras.optimizers.Adam(0.01), local_layers=local, check_every_steps=1, sparse_as_dense=True
    )
    model.compile(optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    slot = next(v for v in optimizer.variables if "embedding" in v.name and "momentum" in v.name)
    slot.assign(tf.fill(slot.shape, 5.0 + rank))
    callbacks = hvd.callbacks.rank_safe(
        [
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        ]
    )
    before = local.embeddings.numpy().mean()
    model.fit(x, x[:, None], epochs=2, verbose=0, callbacks=callbacks)
    fitted = {
        "shape": slot.shape,
        "slot": float(slot.numpy()[-1, 0]),  # decays from its own value
        "kernel": model.layers[1].kernel.numpy().tolist(),
        "changed": bool(before != local.embeddings.numpy().mean()),
    }
    model, local = make()
    plain = keras.optimizers.SGD(0.1)
    model.compile(plain, loss="mse")
    hvd.broadcast_variables(model.layers[1].variables, 0)
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        tape = hvd.DistributedGradientTape(tape, check_every_steps=1)
        tape.register_local_source(local.embeddings.value)
        sources = [v.value for v in model.trainable_variables]
        gradients = tape.gradient(loss, sources)
        plain.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return fitted, model.layers[1].kernel.numpy().tolist(), local.embeddings.shape


@pytest.mark.ranks(2)
def test_local_variables_may_have_any_shape_and_keep_their_slots():
    first, second = run_on_ranks(embeddings_of_other_shapes, timeout_seconds=60)
    for rank, (fitted, _, shape) in enumerate((first, second)):
        assert fitted["shape"] == shape == (3 + rank, 2)
        assert fitted["slot"] == pytest.approx((5.0 + rank) * 0.9**2)
        assert fitted["changed"]
    assert first[0]["kernel"] == second[0]["kernel"]
    assert first[1] == second[1]
