"""Values and gradients that Horovod's own tests of collectives expect, on two ranks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

FLOATS = ["float16", "float32", "float64", "bfloat16"]
DTYPES = [*FLOATS, "int32", "int64"]


def make_require(wrong):
    import tensorflow as tf

    def require(case, actual, expected):
        actual = tf.cast(tf.convert_to_tensor(actual), tf.float64).numpy()
        if actual.shape != np.shape(expected) or not np.allclose(actual, expected, rtol=1e-2):
            wrong.append((case, actual.tolist(), np.asarray(expected).tolist()))

    return require


def wrong_reductions():
    """Cases of reductions whose result is wrong: several at once, products, groups, factors."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank, wrong = hvd.rank(), []
    require = make_require(wrong)
    base = np.arange(12).reshape(6, 2) % 5
    totals = {hvd.Sum: 2 * base + 1, hvd.Min: base, hvd.Max: base + 1}
    totals[hvd.Product] = base * (base + 1)
    for dtype, (op, total) in itertools.product(DTYPES, totals.items()):
        own = tf.cast(base + rank, dtype)
        require(("allreduce", dtype, op.name), hvd.allreduce(own, op=op), total)
        grouped = tf.function(hvd.grouped_allreduce)([own, own[:1], own[:, 0]], op=op)
        for one, expected in zip(grouped, (total, total[:1], total[:, 0]), strict=True):
            require(("grouped", dtype, op.name), one, expected)

    @tf.function
    def at_once(values):  # without an order between them, so that they are sent together
        names = [f"at_once.{index}" for index in range(len(values))]
        pairs = list(zip(values, names, strict=True))
        return (
            [hvd.allreduce(one, name=f"{name}.r", op=hvd.Sum) for one, name in pairs],
            [hvd.allgather(one[: rank + 1], name=f"{name}.g") for one, name in pairs],
            [hvd.reducescatter(one, name=f"{name}.s", op=hvd.Sum) for one, name in pairs],
        )

    values = [tf.cast(base + rank, dtype) for dtype in DTYPES]
    rows = np.concatenate([base[: r + 1] + r for r in range(2)])
    for reduced, gathered, scattered in zip(*at_once(values), strict=True):
        require(("at once", reduced.dtype.name), reduced, totals[hvd.Sum])
        require(("at once, gathered", gathered.dtype.name), gathered, rows)
        part = totals[hvd.Sum][3 * rank :][:3]
        require(("at once, scattered", scattered.dtype.name), scattered, part)
    for dtype in DTYPES:
        own, total = tf.cast(base + rank, dtype), totals[hvd.Sum]
        for before, after in ((2.0, 1.0), (1.0, 2.0), (2.0, 0.5)):
            words = {"op": hvd.Sum, "prescale_factor": before, "postscale_factor": after}
            case, expected = (dtype, before, after), total * before * after
            require(("factors", *case), hvd.allreduce(own, **words), expected)
            for one in hvd.grouped_allreduce([own, own], **words):
                require(("factors, grouped", *case), one, expected)
            part = expected[3 * rank :][:3]
            require(("factors, scattered", *case), hvd.reducescatter(own, **words), part)
            for one in hvd.grouped_reducescatter([own, own], **words):
                require(("factors, grouped, scattered", *case), one, part)
    return wrong


def wrong_exchanges():
    """Cases of uneven, empty and in-place exchanges whose result is wrong."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank, wrong = hvd.rank(), []
    require = make_require(wrong)
    for dtype in DTYPES:
        five = tf.cast(np.arange(10).reshape(5, 2) + rank, dtype)
        total = 2 * np.arange(10).reshape(5, 2) + 1
        part = total[:3] if rank == 0 else total[3:]
        require(("uneven scatter", dtype), hvd.reducescatter(five, op=hvd.Sum), part)
        averaged = hvd.reducescatter(tf.cast(five, "float32"))
        require(("average scatter", dtype), averaged, part / 2)
        gathered = hvd.grouped_allgather([five[: 2 * rank], five[:1]])
        require(("no rows of rank 0", dtype), gathered[0], np.arange(4).reshape(2, 2) + 1)
        require(("grouped gather", dtype), gathered[1], [[0, 1], [1, 2]])
        rows, splits = hvd.alltoall(five[:0], [0, 0])
        require(("alltoall of nothing", dtype), rows, np.zeros((0, 2)))
        require(("splits of nothing", dtype), splits, [0, 0])
        # Rank 1 sends nothing, and then receives nothing.
        sent, splits = (five[:3], [1, 2]) if rank == 0 else (five[:0], [0, 0])
        rows, received = hvd.alltoall(sent, splits)
        expected = [[0, 1]] if rank == 0 else [[2, 3], [4, 5]]
        require(("one sends nothing", dtype), rows, expected)
        require(("splits, one sends nothing", dtype), received, [len(expected), 0])
        rows, received = hvd.alltoall(five[:2], [2, 0])
        expected = [[0, 1], [2, 3], [1, 2], [3, 4]] if rank == 0 else np.zeros((0, 2))
        require(("one receives nothing", dtype), rows, expected)
        require(("splits, one receives nothing", dtype), received, [2, 2] if rank == 0 else [0, 0])
        require(("empty allreduce", dtype), hvd.allreduce(five[:0], op=hvd.Sum), np.zeros((0, 2)))
        for root in range(2):
            variables = [tf.Variable(five), tf.Variable(five[0, 0])]
            same = hvd.broadcast_(variables, root)
            require(("in-place", dtype, root), variables[0], np.arange(10).reshape(5, 2) + root)
            require(("in-place scalar", dtype, root), same[1], root)
    sent = hvd.Compression.fp16.compress(tf.constant([1.5]))[0].dtype.name
    halves = hvd.allreduce([0.5 + rank], op=hvd.Sum, compression=hvd.Compression.fp16)
    require(("fp16", sent), halves, [2.0])
    return wrong if sent == "float16" else [*wrong, sent]


def wrong_slices():
    """Cases of sums and means of `tf.IndexedSlices`, and of integers, that are wrong."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank, wrong = hvd.rank(), []
    require = make_require(wrong)
    for dtype, dimensions in itertools.product([*DTYPES, "uint8", "int8"], (1, 2, 3)):
        values = np.arange(2**dimensions).reshape([2] * dimensions) % 4
        row = tf.cast(values, dtype)
        slices = tf.IndexedSlices(tf.stack([row, row]), tf.constant([rank, rank + 1]))
        for op, divisor in ((hvd.Sum, 1), (hvd.Average, 2)):
            case, expected = (dtype, dimensions, op.name), np.stack([values] * 4) / divisor
            sent = [slices, row, slices]
            alone, grouped = hvd.allreduce(slices, op=op), hvd.grouped_allreduce(sent, op=op)
            for one in (alone, grouped[0], grouped[2]):
                require(("indices", *case), one.indices, [0, 1, 1, 2])
                require(("slices", *case), one.values, expected)
            require(("dense", *case), grouped[1], values * 2 / divisor)
        mean = hvd.allreduce(tf.cast([3 + rank, 4], dtype))
        require(("mean", dtype), mean, [3.5 if mean.dtype.is_floating else 3, 4])
    return wrong


def gradients_of_groups():
    """Gradients on this rank, whose loss has the factor 1 + rank."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    value = tf.Variable(tf.ones([4, 2]))
    uneven = tf.Variable(tf.ones([1 + hvd.rank(), 2]))
    splits = [1, 3] if hvd.rank() == 0 else [2, 2]
    functions = {
        "grouped": (value, lambda: sum(hvd.grouped_allreduce([value, value], op=hvd.Sum))),
        "grouped mean": (value, lambda: sum(hvd.grouped_allreduce([value, 2 * value]))),
        "grouped gather": (value, lambda: sum(hvd.grouped_allgather([value, value]))),
        "uneven gather": (uneven, lambda: hvd.allgather(uneven)),
        "grouped scatter": (value, lambda: sum(hvd.grouped_reducescatter([value, value]))),
        "scaled scatter": (value, lambda: hvd.reducescatter(value, op=hvd.Sum, prescale_factor=3)),
        "splits": (value, lambda: hvd.alltoall(value, splits)[0]),
        "factors": (
            value,
            lambda: hvd.allreduce(value, op=hvd.Sum, prescale_factor=3, postscale_factor=0.5),
        ),
    }
    results = {}
    for name, (variable, function) in functions.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function()) * (1.0 + hvd.rank())
        results[name] = tape.gradient(loss, variable).numpy()
    return results


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_reductions_of_every_dtype_in_groups_at_once_and_with_factors():
    assert run_on_ranks(wrong_reductions, timeout_seconds=200) == [[], []]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_uneven_empty_and_in_place_exchanges_of_every_dtype():
    assert run_on_ranks(wrong_exchanges, timeout_seconds=200) == [[], []]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_slices_of_every_dtype_alone_and_in_groups_and_means_of_integers():
    assert run_on_ranks(wrong_slices, timeout_seconds=200) == [[], []]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_groups_and_splits_and_factors_are_differentiable():
    ones = np.ones((4, 2))
    for rank, result in enumerate(run_on_ranks(gradients_of_groups, timeout_seconds=60)):
        parts = np.repeat([[1.0]] * 2 + [[2.0]] * 2, 2, axis=1)
        own = [[1.0], [2.0], [2.0], [2.0]] if rank == 0 else [[1.0], [1.0], [2.0], [2.0]]
        expected = {
            "grouped": 2 * 3 * ones,
            "grouped mean": 3 * 1.5 * ones,
            "grouped gather": 2 * 1.5 * ones,
            "uneven gather": 1.5 * np.ones((1 + rank, 2)),
            "grouped scatter": 2 * parts,  # the mean of Sum's, which Horovod multiplies by 2
            "scaled scatter": 3 * 2 * parts,
            "splits": np.repeat(own, 2, axis=1),
            "factors": 1.5 * 3 * ones,
        }
        for name, values in expected.items():
            np.testing.assert_allclose(result[name], values, err_msg=f"{name} {rank}")
