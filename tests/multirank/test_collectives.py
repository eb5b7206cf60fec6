"""Every operation of `hvd_imgcls.distributed` on real ranks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import RankError, run_on_ranks


def all_operations():
    import tensorflow as tf

    from hvd_imgcls import distributed

    ranks = distributed.current()
    rank, size, op = ranks.topology.rank, ranks.topology.size, distributed.ReduceOp
    here = tf.fill([2, 3], float(rank + 1))
    results = {
        kind.name: ranks.allreduce(here, op=kind, name=f"test.{kind.name}")
        for kind in (op.SUM, op.AVERAGE, op.MIN, op.MAX, op.PRODUCT)
    }
    results["grouped"] = tf.concat(
        ranks.grouped_allreduce([here, here * 2], op=op.SUM, name="test.grouped"), 0
    )
    results["gathered"] = ranks.allgather(tf.fill([rank + 1], rank), name="test.gather")
    results["bfloat16_sum"] = tf.cast(
        ranks.allreduce(tf.cast(here, tf.bfloat16), op=op.SUM, name="test.bf16"), tf.float32
    )
    results["uint32_from_last"] = tf.cast(
        ranks.broadcast(tf.constant([2**32 - 1 - rank], tf.uint32), size - 1, name="test.u32"),
        tf.int64,
    )
    results["scattered"] = ranks.reducescatter(
        tf.range(size * 2) + rank, op=op.SUM, name="test.scatter"
    )
    received, splits = ranks.alltoall(
        tf.fill([size], rank), tf.ones([size], tf.int32), name="test.alltoall"
    )
    results["received"], results["splits"] = received, splits
    ranks.barrier()
    results = {key: value.numpy() for key, value in results.items()}
    results["summed"] = ranks.sum_arrays("test.arrays", np.array([2**53 + rank, rank], np.int64))
    results["json"] = ranks.gather_json({"rank": rank, "text": "x" * rank})
    results["from_root"] = ranks.broadcast_json({"rank": rank}, root_rank=size - 1)
    return results


@pytest.mark.ranks(3)
@pytest.mark.parametrize("size", [2, 3])
def test_every_operation_gives_the_defined_result(size):
    by_rank = run_on_ranks(all_operations, size)
    total = size * (size + 1) / 2
    for rank, result in enumerate(by_rank):
        np.testing.assert_array_equal(result["SUM"], np.full((2, 3), total))
        np.testing.assert_allclose(result["AVERAGE"], np.full((2, 3), total / size), rtol=1e-6)
        np.testing.assert_array_equal(result["MIN"], np.full((2, 3), 1.0))
        np.testing.assert_array_equal(result["MAX"], np.full((2, 3), float(size)))
        np.testing.assert_array_equal(result["PRODUCT"], np.full((2, 3), [2.0, 6.0][size - 2]))
        np.testing.assert_array_equal(result["grouped"][:, 0], [total] * 2 + [2 * total] * 2)
        expected = np.concatenate([np.full(r + 1, r) for r in range(size)])
        np.testing.assert_array_equal(result["gathered"], expected)
        np.testing.assert_array_equal(result["bfloat16_sum"], np.full((2, 3), total))
        np.testing.assert_array_equal(result["uint32_from_last"], [2**32 - size])
        part = size * np.arange(2 * size) + size * (size - 1) // 2
        np.testing.assert_array_equal(result["scattered"], part[2 * rank : 2 * rank + 2])
        np.testing.assert_array_equal(result["received"], np.arange(size))
        np.testing.assert_array_equal(result["splits"], np.ones(size))
        assert result["summed"][0] == size * 2**53 + size * (size - 1) // 2
        assert result["json"] == [{"rank": r, "text": "x" * r} for r in range(size)]
        assert result["from_root"] == {"rank": size - 1}


def compare(value_by_rank):
    from hvd_imgcls import distributed
    from hvd_imgcls.errors import RankMismatchError

    ranks = distributed.current()
    try:
        distributed.agreement.require_same(
            ranks, value_by_rank[ranks.topology.rank], fix="use one file"
        )
    except RankMismatchError as error:
        return str(error)
    return None


@pytest.mark.ranks(2)
def test_agreement_names_the_differing_entries_on_every_rank():
    messages = run_on_ranks(
        compare, arguments=[[{"seed": 1, "steps": [5, 6]}, {"seed": 2, "steps": [5]}]]
    )
    assert messages[0] == messages[1]
    assert "seed: 1 on rank 0, 2 on rank 1" in messages[0]
    assert "steps[1]: 6 on rank 0, (absent) on rank 1" in messages[0]
    assert "use one file" in messages[0]
    assert run_on_ranks(compare, arguments=[[{"a": 1}, {"a": 1}]]) == [None, None]


def fail_on_one_rank():
    from hvd_imgcls import distributed

    ranks = distributed.current()
    if ranks.topology.rank == 1:
        raise ValueError("planted")
    ranks.barrier()


@pytest.mark.ranks(2)
def test_failure_of_one_rank_is_reported_and_does_not_hang():
    with pytest.raises(RankError, match="rank 1 raised: ValueError: planted"):
        run_on_ranks(fail_on_one_rank, timeout_seconds=60)
    assert run_on_ranks(compare, arguments=[[{}, {}]]) == [None, None]  # new ranks work


def observed_while_one_rank_is_late():
    import threading
    import time

    import tensorflow as tf

    from hvd_imgcls import distributed

    ranks = distributed.current()
    seen, is_over = [], threading.Event()

    def observe():
        while not is_over.wait(0.05):
            seen.append(distributed.is_waiting())

    ranks.barrier()
    observer = threading.Thread(target=observe)
    observer.start()
    if ranks.topology.rank == 1:
        time.sleep(1.5)
    else:
        step = tf.function(lambda: ranks.allreduce(tf.ones([2]), op=1, name="test.traced"))
        # Not even while the operation is traced.
        step.get_concrete_function()
        assert not distributed.is_waiting()
        step()
    is_over.set()
    observer.join()
    if ranks.topology.rank == 1:
        tf.function(lambda: ranks.allreduce(tf.ones([2]), op=1, name="test.traced"))()
    ranks.barrier()
    return seen, distributed.is_waiting()


@pytest.mark.ranks(2)
def test_a_rank_is_waiting_only_within_an_operation():
    (early, _), (late, _) = by_rank = run_on_ranks(observed_while_one_rank_is_late)
    assert sum(early) > 10
    assert not any(late)
    assert not any(after for _, after in by_rank)
