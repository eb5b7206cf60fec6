"""Collectives that Horovod's own tests expect to fail, asked of `hvd_imgcls.keras`."""

from __future__ import annotations

import threading
import time

import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks

SHAPES, DTYPES = "Mismatched {} tensor shapes", "Mismatched data types"
EXPECTED = {
    "allreduce length": SHAPES.format("ALLREDUCE"),
    "allreduce dimensions": SHAPES.format("ALLREDUCE"),
    "allreduce dtype": DTYPES,
    "allreduce op": "Mismatched reduction operation",
    "allreduce factor": "Mismatched prescale and/or postscale factors",
    "allreduce in a graph": SHAPES.format("ALLREDUCE"),
    "allreduce of text": "not in the list of allowed values",
    "allreduce of slices": "expected Average or Sum for tf.IndexedSlices",
    "grouped_allreduce": SHAPES.format("ALLREDUCE"),
    "grouped_allreduce of slices": "expected Average or Sum for tf.IndexedSlices",
    "allgather": "a tensor with dimension 1 equal to 2, but another rank",
    "allgather dimensions": "a tensor of rank 2, but another rank sent a tensor of rank 1",
    "allgather dtype": DTYPES,
    "allgather of a scalar": "a rank-zero tensor",
    "grouped_allgather": SHAPES.format("ALLGATHER"),
    "broadcast": SHAPES.format("BROADCAST"),
    "broadcast dtype": DTYPES,
    "broadcast root": "Mismatched BROADCAST root ranks",
    "broadcast from no rank": "invalid root rank 2",
    "reducescatter": SHAPES.format("REDUCESCATTER"),
    "reducescatter dtype": DTYPES,
    "reducescatter of a scalar": "does not support scalar inputs",
    "reducescatter op": "only supports AVERAGE and SUM",
    "grouped_reducescatter": SHAPES.format("REDUCESCATTER"),
    "alltoall": "a tensor with dimension 1 equal to 2, but another rank",
    "alltoall dtype": DTYPES,
}


def messages_of_wrong_calls():
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank, ones, right = hvd.rank(), tf.ones, tf.ones([2])
    other_dtype = tf.ones([2], [tf.int32, tf.float32][rank])
    other_width = ones([2, 2 + rank])
    slices = tf.IndexedSlices(ones([1, 2]), tf.constant([0]), tf.constant([4, 2]))
    wrong = {
        "allreduce length": lambda: hvd.allreduce(ones([2 + rank])),
        "allreduce dimensions": lambda: hvd.allreduce(ones([4]) if rank else ones([2, 2])),
        "allreduce dtype": lambda: hvd.allreduce(other_dtype, op=hvd.Sum),
        "allreduce op": lambda: hvd.allreduce(right, op=[hvd.Sum, hvd.Min][rank]),
        "allreduce factor": lambda: hvd.allreduce(right, prescale_factor=1.0 + rank),
        "allreduce in a graph": lambda: tf.function(hvd.allreduce)(ones([2 + rank])),
        "allreduce of text": lambda: hvd.allreduce(tf.constant(["text"])),
        "allreduce of slices": lambda: hvd.allreduce(slices, op=hvd.Min),
        "grouped_allreduce": lambda: hvd.grouped_allreduce([right, ones([2 + rank])]),
        "grouped_allreduce of slices": lambda: hvd.grouped_allreduce([right, slices], op=hvd.Max),
        "allgather": lambda: hvd.allgather(other_width),
        "allgather dimensions": lambda: hvd.allgather(ones([2]) if rank else ones([2, 2])),
        "allgather dtype": lambda: hvd.allgather(other_dtype),
        "allgather of a scalar": lambda: hvd.allgather(1.0),
        "grouped_allgather": lambda: hvd.grouped_allgather([right, other_width]),
        "broadcast": lambda: hvd.broadcast(ones([2 + rank]), 0),
        "broadcast dtype": lambda: hvd.broadcast(other_dtype, 0),
        "broadcast root": lambda: hvd.broadcast(right, rank),
        "broadcast from no rank": lambda: hvd.broadcast(right, 2),
        "reducescatter": lambda: hvd.reducescatter(other_width),
        "reducescatter dtype": lambda: hvd.reducescatter(other_dtype, op=hvd.Sum),
        "reducescatter of a scalar": lambda: hvd.reducescatter(1.0),
        "reducescatter op": lambda: hvd.reducescatter(right, op=hvd.Min),
        "grouped_reducescatter": lambda: hvd.grouped_reducescatter([right, other_width]),
        "alltoall": lambda: hvd.alltoall(other_width),
        "alltoall dtype": lambda: hvd.alltoall(other_dtype),
    }
    messages = {}
    for case, call in wrong.items():
        messages[case] = message_of(call)
        hvd.barrier()
    messages["same name"] = same_name_at_the_same_time()
    messages["afterwards"] = hvd.allreduce(right, op=hvd.Sum).numpy().tolist()
    return messages


def same_name_at_the_same_time():
    """Messages of two threads of the root that use one name while rank 1 is late."""
    import hvd_imgcls.keras as hvd

    seen = []

    def call():
        seen.append(message_of(lambda: hvd.allreduce([1.0], name="twice")))

    if hvd.rank() == 0:
        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    else:
        time.sleep(0.5)  # both threads of the root have begun
        call()
    hvd.barrier()
    return seen


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_calls_that_do_not_fit_together_fail_on_all_ranks_and_leave_them_usable():
    results = run_on_ranks(messages_of_wrong_calls, timeout_seconds=120)
    for messages in results:
        for case, text in EXPECTED.items():
            assert text in str(messages[case]), (case, messages[case])
        assert messages["afterwards"] == [2.0, 2.0]
    assert set(results[0]) == {*EXPECTED, "same name", "afterwards"}
    root, other = (result["same name"] for result in results)
    assert other == [None]
    assert len(root) == 2
    assert None in root
    assert any("the same name as another tensor" in str(message) for message in root)
