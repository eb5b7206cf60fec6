"""Classes drawn for a training step, against an independent reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.multirank.test_class_sharding import BATCH, FEATURES, case, dense_targets
from tests.support.launch import run_on_ranks

FACTORS = (0.5, 2.0)
THREE = pytest.param(3, 3, marks=[pytest.mark.ranks(3), pytest.mark.slow])


def make_part(num_classes, num_parts=1, rank=0):
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.plan.class_division import ClassDivision

    return ClassPart(
        ClassDivision(num_classes=num_classes, num_parts=num_parts, size=num_parts), rank
    )


def draws(num_classes, fraction, positives, num_steps, seed=0):
    """Returns whether each class is drawn in each step, `[num_steps, num_classes]`."""
    import tensorflow as tf

    from hvd_imgcls.keras.class_sharding.sampling import ClassSampler

    sampler = ClassSampler(make_part(num_classes), fraction, seed)
    draw = tf.function(sampler.draw, autograph=False)
    drawn = np.zeros((num_steps, num_classes), bool)
    for step in range(num_steps):
        places = draw(tf.constant(step, tf.int64), tf.constant(positives, tf.int32)).numpy()
        assert (np.diff(places) > 0).all()
        drawn[step, places] = True
    return drawn


def test_the_draw_has_the_positives_and_fills_up_to_the_fraction():
    for positives, expected in (([], 3), ([7, 7, 2], 3), ([0, 1, 2, 3, 9], 5)):
        drawn = draws(10, 0.3, positives, 20)
        assert (drawn.sum(axis=1) == expected).all()
        assert drawn[:, positives].all()
    assert draws(10, 0.01, [], 3).sum(axis=1).tolist() == [1, 1, 1]


def statistics(drawn, negatives):
    """Returns chi-squared statistics of single classes, and of pairs: mean about 1 each."""
    num_steps, drawn = len(drawn), drawn[:, negatives].astype(int)
    number, size = len(negatives), drawn[0].sum()
    share = size / number
    single = ((drawn.sum(axis=0) - num_steps * share) ** 2).mean() / (
        num_steps * share * (1 - share)
    )
    both = share * (size - 1) / (number - 1)
    pairs = [
        (drawn[:, first] & drawn[:, second]).sum()
        for first, second in itertools.combinations(range(number), 2)
    ]
    pair = ((np.array(pairs) - num_steps * both) ** 2).mean() / (num_steps * both * (1 - both))
    # From step to step, a class is as likely to be drawn again as any other.
    again = (drawn[1:] & drawn[:-1]).sum(axis=1).mean() / size
    return single, pair, (again - share) * np.sqrt(num_steps * size) / np.sqrt(share * (1 - share))


def test_negatives_are_uniform_without_replacement():
    num_classes, positives, num_steps, size = 16, [3, 3, 11], 3000, 6
    negatives = [one for one in range(num_classes) if one not in positives]
    drawn = draws(num_classes, size / num_classes, positives, num_steps)
    got = statistics(drawn, negatives)

    random = np.random.default_rng(0)

    def reference(choose):
        rows = np.zeros((num_steps, num_classes), bool)
        rows[:, positives] = True
        for row in rows:
            row[choose()] = True
        return statistics(rows, negatives)

    number = size - len(set(positives))
    right = [reference(lambda: random.choice(negatives, number, replace=False)) for _ in range(40)]
    for value, values in zip(got, np.transpose(right), strict=True):
        margin = (values.max() - values.min()) / 2
        assert values.min() - margin <= value <= values.max() + margin
    # What would be wrong, the test notices: neighbours, and a preference for low classes.
    neighbours = reference(
        lambda: (
            [negatives[(random.integers(14) + one) % 14] for one in [0]]
            + [negatives[(start + one) % 14] for start in [random.integers(14)] for one in range(3)]
        )
    )
    weights = np.linspace(1.2, 0.8, 14) / 14
    low = reference(lambda: random.choice(negatives, number, replace=False, p=weights))
    singles, pairs, _ = np.transpose(right)
    assert neighbours[1] > 2 * pairs.max()
    assert low[0] > 2 * singles.max()


def test_the_draw_is_a_function_of_seed_step_and_part():
    first, again, other = (draws(40, 0.25, [1], 30, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()
    assert len({row.tobytes() for row in first}) == 30


def compare(num_classes, smoothing, fraction, num_parts):
    """Returns losses, gradients and accuracy with drawn classes, and those of the reference."""
    import keras
    import tensorflow as tf

    from hvd_imgcls import distributed
    from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedAccuracy
    from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
    from hvd_imgcls.keras.class_sharding.dense import ClassShardedDense
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.keras.class_sharding.sampling import ClassSampler, drawn_classes
    from hvd_imgcls.plan.class_division import ClassDivision

    topology = distributed.start().topology
    rank, size = topology.rank, topology.size
    features, kernel, bias, targets = case(size, num_classes)
    copies = None if num_parts == size else distributed.global_process_set
    division = ClassDivision(num_classes=num_classes, num_parts=num_parts, size=size)
    part = ClassPart(division, rank, copies=copies)
    sampler = ClassSampler(part, fraction, seed=3)
    own = slice(rank * BATCH, (rank + 1) * BATCH)
    factors = np.linspace(*FACTORS, size * BATCH).astype(np.float32)

    dense = ClassShardedDense(part, use_bias=True, name="logits")
    dense.build((None, FEATURES))
    columns = slice(part.classes.start, part.classes.stop)
    dense.set_weights([kernel[:, columns], bias[columns]])
    loss, metric = ClassShardedCrossEntropy(part, smoothing), ClassShardedAccuracy(part)

    @tf.function(autograph=False)
    def compute(step):
        with sampler.drawing(tf.constant(targets[own]), step), tf.GradientTape() as tape:
            rows = tf.constant(features[own])
            tape.watch(rows)
            logits = dense(rows)
            losses = loss.call(tf.constant(targets[own]), logits)
            total = tf.reduce_sum(losses * factors[own])
            metric.update_state(targets[own], logits)
            places = drawn_classes().places
        variables = [v.value for v in dense.weights]
        return places, losses, *tape.gradient(total, [rows, *variables])

    places, *got = (np.asarray(one) for one in compute(tf.constant(4, tf.int64)))
    by_rank = distributed.current().gather_json((places + part.classes.start).tolist())
    drawn = np.unique(np.concatenate([np.array(one, np.int64) for one in by_rank]))

    with tf.GradientTape() as tape:
        variables = [tf.Variable(one) for one in (features, kernel, bias)]
        chosen = [tf.gather(one, drawn, axis=-1) for one in variables[1:]]
        logits = tf.matmul(variables[0], chosen[0]) + chosen[1]
        truth = dense_targets(targets, num_classes)[:, drawn]
        plain = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=smoothing, reduction=None
        )
        losses = plain(truth, logits)
        total = tf.reduce_sum(losses * factors)
    gradients = [np.asarray(tf.convert_to_tensor(one)) for one in tape.gradient(total, variables)]
    accuracy = keras.metrics.CategoricalAccuracy()
    accuracy.update_state(truth[own], logits[own])
    expected = [
        np.asarray(losses)[own],
        gradients[0][own],
        gradients[1][:, columns],
        gradients[2][columns],
    ]
    classes = targets[:, 2:].astype(int)
    return got, expected, float(metric.result()), float(accuracy.result()), drawn, classes


CASES = ((60, 0.0, 0.6), (60, 0.1, 0.6), (90, 0.2, 0.01))
"""Number of classes, label smoothing, fraction."""


def sampled_and_reference(num_parts):
    """Returns for each case what `compare` returns."""
    return [compare(*one, num_parts) for one in CASES]


@pytest.mark.parametrize(("size", "num_parts"), [(1, 1), (2, 2), THREE, (2, 1)])
def test_losses_and_gradients_are_those_of_the_drawn_classes(size, num_parts):
    by_rank = run_on_ranks(sampled_and_reference, size, arguments=[num_parts], timeout_seconds=250)
    for (num_classes, _, fraction), *results in zip(CASES, *by_rank, strict=True):
        drawn, classes = results[0][4:]
        assert np.isin(classes, drawn).all()
        if fraction > 0.5:
            # The positives do not fill the fraction: as many classes as it says are drawn.
            assert len(drawn) == round(fraction * num_classes)
        else:
            assert len(drawn) == len(np.unique(classes))
        for got, expected, accuracy, plain_accuracy, *_ in results:
            for one, wanted in zip(got, expected, strict=True):
                np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=2e-6)
            assert accuracy == plain_accuracy
        others = np.setdiff1d(np.arange(num_classes), drawn)
        bias = np.concatenate([one[0][3] for one in results[:num_parts]])
        assert (bias[others] == 0).all()


def train(fractions, num_classes):
    """Returns losses and weights after some steps of `fit` for each fraction."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedAccuracy
    from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
    from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
    from hvd_imgcls.keras.class_sharding.sampling import ClassSampler
    from hvd_imgcls.keras.optimizer.distributed_optimizer import register_part_variables

    hvd.init()
    random = np.random.default_rng(hvd.rank())
    inputs = random.normal(size=(3, 4, FEATURES)).astype(np.float32)
    classes = random.integers(0, num_classes, size=(3, 4))
    outcomes = []
    for fraction in fractions:
        keras.utils.set_random_seed(0)
        whole = keras.Sequential(
            [keras.Input((FEATURES,)), keras.layers.Dense(7), keras.layers.Dense(num_classes)]
        )
        part = make_part(num_classes, hvd.size(), hvd.rank())
        sampler = None if fraction is None else ClassSampler(part, fraction, seed=0)
        head = ClassShardedHead(whole, part, sampler)
        optimizer = hvd.DistributedOptimizer(keras.optimizers.AdamW(0.1, weight_decay=0.1))
        register_part_variables(optimizer, head.variables)
        head.model.compile(
            optimizer,
            ClassShardedCrossEntropy(part, 0.1),
            weighted_metrics=[ClassShardedAccuracy(part)],
            jit_compile=False,
        )
        dataset = tf.data.Dataset.from_tensor_slices((inputs, classes))
        history = head.model.fit(dataset, verbose=0).history
        outcomes.append((history, [np.array(v) for v in head.model.weights]))
    return outcomes


@pytest.mark.parametrize("size", [1, 2])
def test_drawing_all_classes_gives_the_same_bits(size):
    # 0.99 of 12 or 24 classes rounds to all of them, which go through the code of the draw.
    for whole, drawn, some in run_on_ranks(
        train, size, arguments=[[None, 0.99, 0.2], 24], timeout_seconds=250
    ):
        assert whole[0] == drawn[0] != some[0]
        for one, other, third in zip(whole[1], drawn[1], some[1], strict=True):
            np.testing.assert_array_equal(one, other)
            assert (one != third).any()
