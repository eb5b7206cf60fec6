"""What Horovod's own tests of collectives and process sets ask, asked of `hvd_imgcls.keras`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks

DTYPES = ["int32", "int64", "float16", "float32", "float64", "bfloat16", "uint8", "int8"]


def collectives_of_every_dtype():
    """Returns the cases whose result is wrong."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank, size, wrong = hvd.rank(), hvd.size(), []

    def require(case, actual, expected):
        actual = tf.cast(actual, tf.float64).numpy()
        if actual.shape != np.shape(expected) or not np.allclose(actual, expected, rtol=1e-2):
            wrong.append((case, actual.tolist()))

    for dtype, dimensions, traced in itertools.product(DTYPES, (1, 2, 3), (False, True)):
        shape = [4] * dimensions
        base = np.arange(4**dimensions).reshape(shape) % 7

        def run(function, *arguments, traced=traced, **keywords):
            call = tf.function(function) if traced else function
            return call(*arguments, **keywords)

        own = tf.cast(base + rank, dtype)
        total = size * base + size * (size - 1) / 2
        case = f"{dtype} {dimensions} {traced}"
        require(f"sum {case}", run(hvd.allreduce, own, op=hvd.Sum), total)
        require(f"min {case}", run(hvd.allreduce, own, op=hvd.Min), base)
        require(f"max {case}", run(hvd.allreduce, own, op=hvd.Max), base + size - 1)
        gathered = run(hvd.allgather, own[: rank + 1])
        rows = np.concatenate([base[: r + 1] + r for r in range(size)])
        require(f"gather {case}", gathered, rows)
        require(f"broadcast {case}", run(hvd.broadcast, own, size - 1), base + size - 1)
        if dtype not in ("uint8", "int8"):  # as in Horovod
            part = run(hvd.reducescatter, own, op=hvd.Sum)
            require(f"scatter {case}", part, total[2 * rank :][:2])
        sent = run(hvd.alltoall, own)
        rows = np.concatenate([(base + r)[2 * rank :][:2] for r in range(size)])
        require(f"alltoall {case}", sent, rows)
    return wrong


def gradients_of_collectives():
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    value = tf.Variable(tf.ones([4, 2]))
    results = {}
    for name, function in {
        "sum": lambda: hvd.allreduce(value, op=hvd.Sum),
        "average": lambda: hvd.allreduce(value),
        "gather": lambda: hvd.allgather(value),
        "broadcast": lambda: hvd.broadcast(value, 0),
        "scatter": lambda: hvd.reducescatter(value, op=hvd.Sum),
        "alltoall": lambda: hvd.alltoall(value),
    }.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function()) * (1.0 + hvd.rank())
        results[name] = tape.gradient(loss, value).numpy().tolist()
    return results


def process_sets():
    import hvd_imgcls.keras as hvd

    rank = hvd.rank()
    sets = [hvd.add_process_set([0]), hvd.add_process_set([1])]
    mine, other = sets[rank], sets[1 - rank]
    result = {
        "facts": (mine.rank(), mine.size(), mine.included(), other.included(), other.rank()),
        "sum": float(hvd.allreduce(1.0 + rank, op=hvd.Sum, process_set=mine)),
        "gather": hvd.allgather([rank], process_set=mine).numpy().tolist(),
        "not a member": message_of(lambda: hvd.allreduce(1.0, process_set=other)),
        "removed": [hvd.remove_process_set(one) for one in sets],
        "again": [hvd.remove_process_set(one) for one in sets],
        "size": mine.size(),
    }
    result["after"] = message_of(lambda: hvd.allreduce(1.0, process_set=mine))
    return result


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_every_collective_takes_every_dtype_and_dimension():
    assert run_on_ranks(collectives_of_every_dtype, timeout_seconds=200) == [[], []]


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_collectives_are_differentiable():
    for rank, result in enumerate(run_on_ranks(gradients_of_collectives)):
        ones = np.ones((4, 2))
        expected = {
            "sum": 3 * ones,
            "average": 1.5 * ones,
            "gather": 1.5 * ones,  # Horovod averages the gradient of what it gathers
            "broadcast": (1 - rank) * 1.5 * ones,  # and of what it broadcasts
            "scatter": np.repeat([[2.0], [2.0], [4.0], [4.0]], 2, axis=1),  # and multiplies here
            "alltoall": np.repeat([[1.0], [1.0], [2.0], [2.0]], 2, axis=1),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(result[name], values, err_msg=name)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_process_sets_are_added_used_and_removed():
    results = run_on_ranks(process_sets, environment={"HOROVOD_DYNAMIC_PROCESS_SETS": "1"})
    for rank, result in enumerate(results):
        assert result["facts"] == (0, 1, True, False, None)
        assert (result["sum"], result["gather"]) == (1.0 + rank, [rank])
        assert "a registered process set" in result["not a member"]
        assert (result["removed"], result["again"]) == ([True, True], [False, False])
        assert result["size"] is None
        assert "a registered process set" in result["after"]
