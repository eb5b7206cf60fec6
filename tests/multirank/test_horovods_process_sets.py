"""What Horovod's own tests ask of process sets: each of two sets does everything on its own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks

DYNAMIC = {"HOROVOD_DYNAMIC_PROCESS_SETS": "1"}
EVEN, ODD = [0, 2], [1]


def make_functions(mine, root):
    """Returns collectives of `float32[4, 2]` in a process set, by name."""
    import hvd_imgcls.keras as hvd

    words = {"process_set": mine}
    return {
        "sum": lambda x: hvd.allreduce(x, op=hvd.Sum, **words),
        "average": lambda x: hvd.allreduce(x, **words),
        "grouped": lambda x: sum(hvd.grouped_allreduce([x, x], op=hvd.Sum, **words)),
        "gather": lambda x: hvd.allgather(x, **words),
        "grouped gather": lambda x: hvd.grouped_allgather([x, x[:1]], **words)[1],
        "broadcast": lambda x: hvd.broadcast(x, root, **words),
        "scatter": lambda x: hvd.reducescatter(x, op=hvd.Sum, **words),
        "grouped scatter": lambda x: hvd.grouped_reducescatter([x, x], op=hvd.Sum, **words)[1],
        "alltoall": lambda x: hvd.alltoall(x, **words),
        "splits": lambda x: hvd.alltoall(x, [4 // mine.size()] * mine.size(), **words)[0],
    }


def both_sets_at_once():
    """Values and gradients of collectives in {0, 2} and, at the same time, in {1}."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()
    even, odd = hvd.add_process_set(EVEN), hvd.add_process_set(ODD)
    mine, other = (odd, even) if rank == 1 else (even, odd)
    root = mine.ranks[-1]
    values, gradients = {}, {}
    for name, function in make_functions(mine, root).items():
        variable = tf.Variable(tf.fill([4, 2], 1.0 + rank))
        with tf.GradientTape() as tape:
            result = tf.function(function)(variable)
            loss = tf.reduce_sum(result) * (1.0 + rank)
        values[name] = result.numpy()[:, 0].tolist()
        gradients[name] = tape.gradient(loss, variable).numpy()[:, 0].tolist()
    variables = [tf.Variable([float(rank)]), tf.Variable(rank)]
    hvd.broadcast_variables(variables, root, process_set=mine)
    with tf.GradientTape() as tape:
        loss = variables[0] * (1.0 + rank)
    tape = hvd.DistributedGradientTape(tape, process_set=mine)
    taped = tape.gradient(loss, variables[:1])
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[0.0]])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(1.0), process_set=even)
    optimizer.apply_gradients([(tf.constant([[-1.0 - rank]]), model.layers[0].kernel)])
    fake = hvd.ProcessSet([0])
    fake.process_set_id = 10
    result = {
        "values": values,
        "gradients": gradients,
        "variables": [v.numpy().tolist() for v in variables],
        "tape": float(taped[0][0]),
        "optimizer": float(model.layers[0].kernel.numpy()[0, 0]),
        "object": hvd.broadcast_object({"from": rank}, root, process_set=mine),
        "object_fn": hvd.broadcast_object_fn(root, process_set=mine)([rank]),
        "objects": hvd.allgather_object(rank, process_set=mine),
        "of others": message_of(lambda: hvd.allreduce(1.0, process_set=other)),
        "unknown": message_of(lambda: hvd.allreduce(1.0, process_set=fake)),
        "root outside": message_of(lambda: hvd.broadcast([1.0], other.ranks[0], process_set=mine)),
        "size_op": message_of(lambda: hvd.size_op(process_set_id=even.process_set_id)),
    }
    hvd.barrier()
    return {**result, **added_and_removed(even, odd)}


def added_and_removed(even, odd):
    """What comes of sets that exist already, of removed ones and of the set of all ranks."""
    import hvd_imgcls.keras as hvd

    result = {
        "ids": [hvd.allgather([one.process_set_id]).numpy().tolist() for one in (even, odd)],
        "twice": message_of(lambda: hvd.add_process_set(EVEN[::-1])),
        "all": message_of(lambda: hvd.add_process_set([0, 1, 2])),
        "no rank": message_of(lambda: hvd.add_process_set([0, 5])),
        "differ": message_of(lambda: hvd.add_process_set([hvd.rank()])),
        "repeated": message_of(lambda: hvd.ProcessSet([1, 1])),
        "removed": (hvd.remove_process_set(even), even.process_set_id),
        "global": hvd.remove_process_set(hvd.global_process_set),
    }
    again = hvd.add_process_set(even)
    if again.included():
        result["again"] = float(hvd.allreduce(1.0, op=hvd.Sum, process_set=again))
    hvd.barrier()
    result["left"] = [hvd.remove_process_set(one) for one in (again, odd, odd)]
    result["afterwards"] = float(hvd.allreduce(1.0, op=hvd.Sum))
    return result


def sets_from_the_start():
    """Process sets that are given to `init`, after some that it refuses."""
    import hvd_imgcls.keras as hvd

    rank, sets = hvd.rank(), hvd.ProcessSet
    hvd.shutdown()
    result = {
        case: message_of(lambda given=given: hvd.init(process_sets=given))
        for case, given in {
            "duplicate": [sets([0]), sets([1, 2]), sets([2, 1])],
            "all": [sets([0, 1, 2])],
            "no rank": [sets([0, 5])],
        }.items()
    }
    alone, others = sets([0]), sets(reversed([1, 2]) if rank == 1 else [1, 2])
    hvd.init(process_sets=[alone, others])
    mine = others if rank else alone
    own = 1.0 + rank
    result |= {
        "ids": (hvd.global_process_set.process_set_id, alone.process_set_id, others.process_set_id),
        "mine": (mine.rank(), mine.size(), mine.included()),
        "sum": float(hvd.allreduce(own, op=hvd.Sum, process_set=mine)),
        "of all": float(hvd.allreduce(own, op=hvd.Sum)),
    }
    hvd.barrier()
    return result


def other_sets_from_the_start():
    import hvd_imgcls.keras as hvd

    members = [0] if hvd.rank() == 0 else [1, 2]
    hvd.shutdown()
    return message_of(lambda: hvd.init(process_sets=[hvd.ProcessSet(members)]))


@pytest.fixture(scope="module")
def on_three_ranks():
    return run_on_ranks(both_sets_at_once, 3, environment=DYNAMIC, timeout_seconds=150)


@pytest.mark.ranks(3)
@pytest.mark.slow
def test_each_process_set_computes_and_differentiates_on_its_own(on_three_ranks):
    for rank, result in enumerate(on_three_ranks):
        members = ODD if rank == 1 else EVEN
        own, numbers, size = 1.0 + rank, [1.0 + r for r in members], len(members)
        mean = sum(numbers) / size
        parts = [n for n in numbers for _ in range(4 // size)]
        from_root = [size * mean / size] * 4 if rank == members[-1] else [0.0] * 4
        expected = {
            "sum": ([sum(numbers)] * 4, [sum(numbers)] * 4),
            "average": ([mean] * 4, [mean] * 4),
            "grouped": ([2 * sum(numbers)] * 4, [2 * sum(numbers)] * 4),
            "gather": ([n for n in numbers for _ in range(4)], [mean] * 4),
            "grouped gather": (numbers, [mean, 0.0, 0.0, 0.0]),
            "broadcast": ([numbers[-1]] * 4, from_root),
            "scatter": ([sum(numbers)] * (4 // size), [size * n for n in parts]),
            "grouped scatter": ([sum(numbers)] * (4 // size), [size * n for n in parts]),
            "alltoall": (parts, parts),
            "splits": (parts, parts),
        }
        for name, (values, gradients) in expected.items():
            np.testing.assert_allclose(result["values"][name], values, err_msg=name)
            np.testing.assert_allclose(result["gradients"][name], gradients, err_msg=name)
        assert result["variables"] == [[float(members[-1])], members[-1]]
        assert result["tape"] == mean
        assert result["optimizer"] == (own if rank == 1 else mean)
        assert result["object"] == {"from": members[-1]}
        assert result["object_fn"] == [members[-1]]
        assert result["objects"] == members


@pytest.mark.ranks(3)
@pytest.mark.slow
def test_wrong_process_sets_are_errors_on_all_ranks(on_three_ranks):
    for rank, result in enumerate(on_three_ranks):
        for case in ("of others", "unknown"):
            assert "a registered process set" in result[case], case
        assert "root" in result["root outside"]
        assert "process_set.size()" in result["size_op"]
        assert all(len(set(ids)) == 1 for ids in result["ids"])
        for case, text in {
            "twice": "other members than those of each registered set",
            "all": "other members than those of each registered set",
            "no rank": "some of the ranks 0 to 2 of this run",
            "differ": "ProcessSet(ranks)[0]: 0 on rank 0, 1 on rank 1, 2 on rank 2",
            "repeated": "distinct integers",
        }.items():
            assert text in str(result[case]), (case, result[case])
        assert result["removed"] == (True, None)
        assert not result["global"]
        assert result.get("again") == (None if rank == 1 else 2.0)
        assert result["left"] == [True, True, False]
        assert result["afterwards"] == 3.0


@pytest.mark.ranks(3)
@pytest.mark.slow
def test_process_sets_are_given_to_init():
    for rank, result in enumerate(run_on_ranks(sets_from_the_start, 3, fresh=True)):
        assert "other members" in result["duplicate"]
        assert "hvd.global_process_set" in result["all"]
        assert "some of the ranks 0 to 2 of this run" in result["no rank"]
        assert result["ids"] == (0, 1, 2)
        assert result["mine"] == ((rank - 1, 2, True) if rank else (0, 1, True))
        assert (result["sum"], result["of all"]) == (5.0 if rank else 1.0, 6.0)


@pytest.mark.ranks(3)
@pytest.mark.slow
def test_init_with_other_process_sets_on_each_rank_is_an_error_on_all():
    for message in run_on_ranks(other_sets_from_the_start, 3, fresh=True):
        assert "pass the same process_sets, in the same order, to hvd.init" in message
