"""Updates and learning rates as Horovod's own tests of its Keras modules and tapes ask."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

PASSES, STEPS = 4, 10


def make_adding_optimizer():
    """Returns an optimizer that adds gradients to variables, so that updates can be read."""
    import keras

    class Adding(keras.optimizers.Optimizer):
        def __init__(self, learning_rate=1.0, **keywords):
            super().__init__(learning_rate=learning_rate, **keywords)

        def update_step(self, gradient, variable, learning_rate):
            variable.assign_add(gradient)

    return Adding()


def accumulate(average, num_local):
    """Variables after each of some passes, dense and sparse, the first ones local.

    The gradient is 1 for the dense variables and -(1 + rank) for the first row of the others.
    """
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    optimizer = hvd.DistributedOptimizer(
        make_adding_optimizer(),
        backward_passes_per_step=PASSES,
        average_aggregated_gradients=average,
        sparse_as_dense=True,
    )
    dense = [tf.Variable([0.0]) for _ in range(4)]
    sparse = [tf.Variable([1.0, 2.0]) for _ in range(4)]
    for variable in [*dense[:num_local], *sparse[:num_local]]:
        optimizer.register_local_var(variable)
    optimizer.build([*dense, *sparse])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            rows = [tf.gather(variable, [0]) for variable in sparse]
            own = 1.0 + hvd.rank()
            loss = tf.add_n([x - own * row for x, row in zip(dense, rows, strict=True)])
        variables = [*dense, *sparse]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    history = []
    for _ in range(STEPS):
        step()
        history.append([[v.numpy().tolist() for v in group] for group in (dense, sparse)])
    return history, int(optimizer.iterations.numpy())


def infinite_then_finite():
    """The value after a cycle of passes with an infinite gradient and one without."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    optimizer = hvd.DistributedOptimizer(
        make_adding_optimizer(), backward_passes_per_step=2, check_every_steps=0
    )
    variable = tf.Variable(0.0)
    values = []
    for gradient in (np.inf, 1.0, 1.0, 1.0):
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), variable)])
        values.append(float(variable.numpy()))
        if not np.isfinite(values[-1]):
            variable.assign(0.0)
    return values


def accumulated_over_passes():
    return {
        **{
            (average, num_local): accumulate(average, num_local)
            for average in (False, True)
            for num_local in (0, 2)
        },
        "infinite": infinite_then_finite(),
    }


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_passes_are_accumulated_with_local_variables_and_without():
    for rank, results in enumerate(run_on_ranks(accumulated_over_passes, timeout_seconds=90)):
        assert results.pop("infinite") == [0.0, np.inf, 0.0, 2.0]
        for (average, num_local), (history, iterations) in results.items():
            assert iterations == STEPS // PASSES  # updates; Horovod counts passes
            for step, (dense, sparse) in enumerate(history):
                change = ((step + 1) // PASSES) * (1 if average else PASSES)
                for index in range(4):
                    is_local = index < num_local
                    # Local gradients are divided by the number of ranks.
                    own = (1.0 + rank) / 2 if is_local else 1.5
                    expected = change * (0.5 if is_local else 1.0)
                    np.testing.assert_allclose(dense[index], [expected])
                    np.testing.assert_allclose(sparse[index], [1.0 - change * own, 2.0])


def fit_with_schedules():
    """Learning rates by epoch, and losses."""
    import keras

    import hvd_imgcls.keras as hvd

    first_rate, callbacks = 0.1 * hvd.size(), hvd.callbacks
    rates = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate.numpy()))
    )
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.RepeatVector(3)]
    )
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam())
    model.compile(optimizer, loss="mse", metrics=["categorical_accuracy"])

    def schedule(multiplier, start, end):
        return callbacks.LearningRateScheduleCallback(
            initial_lr=first_rate, multiplier=multiplier, start_epoch=start, end_epoch=end
        )

    history = model.fit(
        np.random.default_rng(hvd.rank()).random((10, 3)),
        np.ones((10, 3, 2)),
        steps_per_epoch=5,
        batch_size=2,
        epochs=20,
        verbose=0,
        callbacks=[
            callbacks.BroadcastGlobalVariablesCallback(0),
            callbacks.MetricAverageCallback(),
            callbacks.LearningRateWarmupCallback(initial_lr=first_rate, warmup_epochs=5),
            schedule(0.1, 5, 10),
            schedule(0.01, 10, 15),
            schedule(lambda epoch: epoch, 15, 20),
            keep,
        ],
    )
    return rates, history.history["loss"]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_warmup_and_schedules_follow_each_other_in_one_fit():
    (rates, losses), (other_rates, other_losses) = run_on_ranks(fit_with_schedules)
    assert rates == other_rates
    assert losses == other_losses
    warmed_up = [0.1 * (1 + epoch / 5) for epoch in range(1, 6)]
    np.testing.assert_allclose(rates[:5], warmed_up, rtol=1e-6)
    np.testing.assert_allclose(rates[5:10], [0.2 * 0.1**n for n in range(5)], rtol=1e-5)
    np.testing.assert_allclose(rates[10:15], [0.2 * 0.01**n for n in range(5)], rtol=1e-5)
    np.testing.assert_allclose(rates[15:], [0.2 * epoch for epoch in range(15, 20)], rtol=1e-6)


def gradients_of_partial_tapes():
    """For 0, 1 and 2 local layers: plain gradients, those of the tape, and its two parts."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    constant = keras.initializers.Constant(1.0 + hvd.rank())
    layers = [
        keras.layers.Dense(2, kernel_initializer=constant),
        keras.layers.RepeatVector(3),
        keras.layers.TimeDistributed(keras.layers.Dense(3, kernel_initializer=constant)),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    variables = model.trainable_variables
    results = []
    for num_local in range(3):
        with tf.GradientTape(persistent=True) as plain:
            loss = tf.reduce_mean(model(tf.ones([1, 3])) ** 2)
        tape = hvd.PartialDistributedGradientTape(
            plain, local_layers=model.layers[:num_local], check_every_steps=0
        )
        local, reduced = tape.get_local_and_global_gradients(loss, variables)
        results.append(
            (
                [g.numpy() for g in plain.gradient(loss, variables)],
                [g.numpy() for g in tape.gradient(loss, variables)],
                [([v is w for w in variables].index(True), g.numpy()) for v, g in local],
                [([v is w for w in variables].index(True), g.numpy()) for v, g in reduced],
            )
        )
    return results


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_tapes_return_local_gradients_and_reduced_ones_apart():
    by_rank = run_on_ranks(gradients_of_partial_tapes, timeout_seconds=60)
    for rank, results in enumerate(by_rank):
        pairs = zip(results, by_rank[1 - rank], strict=True)
        for num_layers, ((plain, taped, local, reduced), of_other) in enumerate(pairs):
            num_local = 2 if num_layers else 0  # variables; the second layer has none
            means = [(own + other) / 2 for own, other in zip(plain, of_other[0], strict=True)]
            halves = [own / 2 for own in plain]
            expected = [*halves[:num_local], *means[num_local:]]
            assert [index for index, _ in [*local, *reduced]] == [0, 1, 2, 3]
            assert len(local) == num_local
            for index, gradient in [*enumerate(taped), *local, *reduced]:
                np.testing.assert_allclose(gradient, expected[index], rtol=1e-5)


def train_divided_embedding():
    """Weights of a model whose embedding is divided over the ranks by `alltoall`."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()

    class Divided(keras.Model):
        def __init__(self):
            super().__init__()
            value = keras.initializers.Constant(1.0 + rank)
            self.embedding = keras.layers.Embedding(7 + 2 * rank, 3, embeddings_initializer=value)
            self.dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, rows):
            parts = hvd.alltoall(self.embedding(rows))
            return self.dense(tf.reshape(parts, [1, 6]))

    model, optimizer = Divided(), keras.optimizers.SGD(1.0)

    @tf.function
    def step(rows):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(rows)) * (1.0 + rank)
        tape = hvd.DistributedGradientTape(tape)
        tape.register_local_source(model.embedding.trainable_variables[0])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    # The rows for rank 0 and for rank 1, which each rank of the model looks up for both.
    rows = hvd.alltoall(tf.constant([1, 0] if rank == 0 else [3, 4]))
    model(rows)
    loss = float(step(rows))
    return (
        loss,
        model.embedding.get_weights()[0][:, 0].tolist(),
        model.dense.get_weights()[0][:, 0].tolist(),
    )


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_embedding_may_be_divided_over_the_ranks():
    results = run_on_ranks(train_divided_embedding, timeout_seconds=60)
    for rank, (loss, embedding, dense) in enumerate(results):
        value = 1.0 + rank
        assert loss == 9.0 * value  # three ones and three twos
        # Both ranks' losses depend on a row of each embedding: 1 and 2, halved.
        expected = [value] * (7 + 2 * rank)
        for row, gradient in zip(([1, 3], [0, 4])[rank], (0.5, 1.0), strict=True):
            expected[row] -= gradient
        np.testing.assert_allclose(embedding, expected)
        # The mean over the ranks of their factor times each input.
        np.testing.assert_allclose(dense, [1.0 - 1.5] * 3 + [1.0 - 3.0] * 3)
