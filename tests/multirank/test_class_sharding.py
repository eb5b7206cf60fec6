"""A last layer whose classes are divided over the ranks, against the whole one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

BATCH, FEATURES = 6, 5


def case(size, num_classes, seed=0):
    """Returns features, kernel, bias and targets (weights and classes) of the global batch."""
    random = np.random.default_rng(seed)
    number = BATCH * size
    features = random.normal(size=(number, FEATURES)).astype(np.float32)
    kernel = random.normal(size=(FEATURES, num_classes)).astype(np.float32)
    bias = random.normal(size=num_classes).astype(np.float32)
    classes = random.integers(0, num_classes, size=(number, 2))
    classes[3] = classes[3, 0]  # mixed with an example of the same class
    share = random.uniform(size=number).astype(np.float32)
    share[::2] = 1.0
    weights = np.stack([share, 1 - share], axis=-1)
    return features, kernel, bias, np.concatenate([weights, classes], axis=-1).astype(np.float32)


def dense_targets(targets, num_classes):
    weights, classes = np.split(targets, 2, axis=-1)
    dense = np.zeros((len(targets), num_classes), np.float32)
    for row, (of_row, of_classes) in enumerate(zip(weights, classes.astype(int), strict=True)):
        np.add.at(dense[row], of_classes, of_row)
    return dense


def sharded_and_whole(num_classes, smoothing, scale):
    """Returns losses, gradients and accuracy of this rank's part, and of the whole layer."""
    import keras
    import tensorflow as tf

    from hvd_imgcls import distributed
    from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedAccuracy
    from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
    from hvd_imgcls.keras.class_sharding.dense import ClassShardedDense
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.plan.class_division import ClassDivision

    topology = distributed.start().topology
    rank, size = topology.rank, topology.size
    features, kernel, bias, targets = case(size, num_classes)
    features *= scale
    part = ClassPart(ClassDivision(num_classes=num_classes, num_parts=size, size=size), rank)
    own = slice(rank * BATCH, (rank + 1) * BATCH)
    factors = tf.constant(np.linspace(0.5, 2.0, size * BATCH), tf.float32)

    dense = ClassShardedDense(part, use_bias=True, name="logits")
    dense.build((None, FEATURES))
    columns = slice(part.classes.start, part.classes.stop)
    dense.set_weights([kernel[:, columns], bias[columns]])
    loss = ClassShardedCrossEntropy(part, smoothing)
    metric = ClassShardedAccuracy(part)

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            rows = tf.constant(features[own])
            tape.watch(rows)
            logits = dense(rows)
            losses = loss.call(tf.constant(targets[own]), logits)
            total = tf.reduce_sum(losses * factors[own])
        metric.update_state(targets[own], logits)
        variables = [v.value for v in dense.weights]
        return losses, *tape.gradient(total, [rows, *variables])

    got = [np.asarray(one) for one in compute()]

    with tf.GradientTape() as tape:
        variables = [tf.Variable(one) for one in (features, kernel, bias)]
        logits = tf.matmul(variables[0], variables[1]) + variables[2]
        truth = dense_targets(targets, num_classes)
        plain = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=smoothing, reduction=None
        )
        losses = plain(truth, logits)
        total = tf.reduce_sum(losses * factors)
    gradients = [np.asarray(one) for one in tape.gradient(total, variables)]
    accuracy = keras.metrics.CategoricalAccuracy()
    accuracy.update_state(truth[own], logits[own])
    expected = [
        np.asarray(losses)[own],
        gradients[0][own],
        gradients[1][:, columns],
        gradients[2][columns],
    ]
    return got, expected, float(metric.result()), float(accuracy.result())


@pytest.mark.parametrize("size", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_losses_and_gradients_are_those_of_the_whole_layer(size):
    for num_classes, smoothing, scale in ((7, 0.0, 1.0), (10, 0.1, 1.0), (10, 0.0, 100.0)):
        results = run_on_ranks(
            sharded_and_whole, size, arguments=[num_classes, smoothing, scale], timeout_seconds=90
        )
        for got, expected, accuracy, plain_accuracy in results:
            for one, wanted in zip(got, expected, strict=True):
                np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=2e-6 * scale)
            assert accuracy == plain_accuracy


def train_with_nan(frozen):
    """Returns weights before and after a step with a NaN on rank 1, and who is told to have it."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
    from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.keras.optimizer.distributed_optimizer import register_part_variables
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
    from hvd_imgcls.plan.class_division import ClassDivision

    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((FEATURES,))
    trunk = keras.layers.Dense(FEATURES, trainable=not frozen)
    whole = keras.Model(inputs, keras.layers.Dense(7, name="logits")(trunk(inputs)))
    expected = [np.array(v) for v in whole.variables]
    head = ClassShardedHead(
        whole, ClassPart(ClassDivision(num_classes=7, num_parts=size, size=size), rank)
    )
    with head.gathered() as again:
        gathered = [np.array(v) for v in again.variables]
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(0.1, momentum=0.9), skip_non_finite=True
    )
    register_part_variables(optimizer, head.variables)
    model = head.model
    model.compile(optimizer, ClassShardedCrossEntropy(head.part), jit_compile=False)
    targets = tf.constant([[1.0, 0.0], [1.0, 6.0]])
    good = np.ones((2, FEATURES), np.float32)
    bad = good.copy()
    bad[1, 2] = np.nan if rank == 1 else 1.0
    states = []
    for rows in (good, bad, good):
        model.train_on_batch(rows, targets)
        states.append([np.array(v) for v in [*model.variables, *optimizer.variables[2:]]])
    guard = synchronizer_of(optimizer).guard
    facts = int(guard.num_skipped_updates.numpy()), bool(guard.is_of_this_rank.numpy())
    return expected, gathered, states, facts


@pytest.mark.ranks(2)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_nan_on_one_rank_skips_the_step_on_all(frozen):
    results = run_on_ranks(train_with_nan, 2, arguments=[frozen], timeout_seconds=90)
    for rank, (expected, gathered, states, (num_skipped, is_mine)) in enumerate(results):
        for got, wanted in zip(gathered, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
        before, skipped, after = states
        for one, other in zip(before, skipped, strict=True):
            np.testing.assert_array_equal(one, other)
        assert any((one != other).any() for one, other in zip(skipped, after, strict=True))
        assert all(np.isfinite(one).all() for one in after)
        assert num_skipped == 1
        # With frozen layers before it, no rank has a gradient of its own.
        assert is_mine == (rank == 1 and not frozen)
