"""The operations of `hvd_imgcls.keras` on real ranks: what Horovod's own tests ask of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_unequal_ranks import message_of
from tests.support.launch import run_on_ranks


def rows_to_all():
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    ten, in_graph = tf.range(10), tf.function(hvd.alltoall)
    return {
        "divided": hvd.alltoall(tf.range(4) + 10 * hvd.rank()).numpy(),
        "graph": in_graph(tf.range(4) + 10 * hvd.rank()).numpy(),
        "splits": [t.numpy() for t in hvd.alltoall(ten, [3, 7])],
        "nine": message_of(lambda: hvd.alltoall(tf.range(9))),
        "nine on one": message_of(lambda: hvd.alltoall(tf.range(8 + hvd.rank()))),
        "nine in a graph": message_of(lambda: in_graph(tf.range(9))),
        "less": message_of(lambda: hvd.alltoall(ten, [4, 4 + 2 * hvd.rank()])),
        "three": message_of(lambda: hvd.alltoall(ten, [4, 4, 2])),
        "negative": message_of(lambda: hvd.alltoall(ten, [11, -1])),
    }


@pytest.mark.ranks(2)
def test_alltoall_sends_every_row_or_says_which_rank_does_not():
    results = run_on_ranks(rows_to_all, timeout_seconds=60)
    for rank, result in enumerate(results):
        for case in ("divided", "graph"):
            np.testing.assert_array_equal(
                result[case], [0 + 2 * rank, 1 + 2 * rank, 10 + 2 * rank, 11 + 2 * rank]
            )
        rows, received = result["splits"]
        part = [0, 1, 2] if rank == 0 else [3, 4, 5, 6, 7, 8, 9]
        np.testing.assert_array_equal(rows, part * 2)
        np.testing.assert_array_equal(received, [len(part)] * 2)
        assert "rank 0: got '9 rows without splits'" in result["nine"]
        assert "rank 1: got '9 rows without splits'" in result["nine on one"]
        assert "rank 0: got '9 rows without splits'" in result["nine in a graph"]
        assert "rank 0: got 'splits of 8 rows for a value of 10'" in result["less"]
        assert "3 splits" in result["three"]
        assert "a split of -1 rows" in result["negative"]


def slices_over_ranks():
    """Sums of rows as dense arrays `[4, 2]`, and the dtypes sent."""
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    sent = []

    class Halves(hvd.Compression.fp16):
        @staticmethod
        def compress(tensor):
            compressed, context = hvd.Compression.fp16.compress(tensor)
            sent.append(compressed.dtype.name)
            return compressed, context

    rank = hvd.rank()
    values = tf.ones([2, 2]) * (1.0 + rank)
    slices = tf.IndexedSlices(values, tf.constant([rank, 2]), tf.constant([4, 2]))
    no_shape = tf.IndexedSlices(values, tf.constant([rank, 2]))
    scaled = hvd.allreduce(
        slices, op=hvd.Sum, prescale_factor=2.0, postscale_factor=0.25, compression=Halves
    )
    grouped = hvd.grouped_allreduce([slices, tf.ones([2]), no_shape], op=hvd.Average)
    return {
        "scaled": tf.convert_to_tensor(scaled).numpy(),
        "grouped": tf.convert_to_tensor(grouped[0]).numpy(),
        "dense": grouped[1].numpy(),
        "no shape": (grouped[2].values.numpy(), grouped[2].indices.numpy()),
        "sent": sent,
    }


@pytest.mark.ranks(2)
def test_slices_are_scaled_and_compressed_and_stay_slices_in_a_group():
    total = np.array([[1.0] * 2, [2.0] * 2, [3.0] * 2, [0.0] * 2])
    for result in run_on_ranks(slices_over_ranks, timeout_seconds=60):
        np.testing.assert_allclose(result["scaled"], total * 0.5)
        np.testing.assert_allclose(result["grouped"], total / 2)
        np.testing.assert_allclose(result["dense"], [1.0, 1.0])
        np.testing.assert_array_equal(result["no shape"][1], [0, 2, 1, 2])
        np.testing.assert_allclose(result["no shape"][0][:, 0], [0.5, 0.5, 1.0, 1.0])
        assert result["sent"] == ["float16"]


def horovods_names():
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()
    alone = hvd.add_process_set(np.array([1]))
    both = hvd.ProcessSet(np.arange(2))
    instead = {}
    for name in ("elastic", "join", "DistributedAdasumOptimizer", "nonsense"):
        try:
            getattr(hvd, name)
        except AttributeError as error:
            instead[name] = str(error)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    local = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), local, dense])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.fill([1, 1], 1.0 + rank)))
    tape = hvd.PartialDistributedGradientTape(tape, local_layers=local, scale_local_gradients=False)
    sources = [v.value for v in model.trainable_variables]
    gradients = tape.gradient(loss, sources)
    variable = tf.Variable([float(rank)])
    hvd.broadcast_([variable], 1)
    # ..., op, num_groups, groups
    of_horovod_keras = (None, "", "", hvd.Compression.none, False, 1.0, hvd.Sum, 1, 2)
    result = {
        "gathered": [t.numpy().tolist() for t in hvd.grouped_allgather([[rank], [[rank, 2]]])],
        "scattered": [
            t.numpy().tolist()
            for t in hvd.grouped_reducescatter([[1.0, 2.0], [rank, rank]], op=hvd.Sum)
        ],
        "ops": [
            int(op()) for op in (hvd.rank_op, hvd.size_op, hvd.local_rank_op, hvd.local_size_op)
        ],
        "sets": (list(both.ranks), list(hvd.global_process_set.ranks)),
        "local": [float(g[0, 0]) for g in gradients],
        "broadcast": variable.numpy().tolist(),
        "object": hvd.broadcast_object_fn(root_rank=1)({"rank": rank}),
        "object in a set": hvd.broadcast_object([rank], 1, process_set=alone) if rank else [1],
        "objects in a set": hvd.allgather_object(rank, process_set=alone) if rank else [1],
        "global": message_of(lambda: hvd.broadcast_global_variables(0)),
        "positions": message_of(
            lambda: hvd.DistributedOptimizer(keras.optimizers.SGD(), *of_horovod_keras)
        ),
        "instead": instead,
    }
    hvd.remove_process_set(alone)
    return result


@pytest.mark.ranks(2)
def test_names_of_horovod_exist_or_say_what_to_use_instead():
    results = run_on_ranks(
        horovods_names, timeout_seconds=60, environment={"HOROVOD_DYNAMIC_PROCESS_SETS": "1"}
    )
    for rank, result in enumerate(results):
        assert result["gathered"] == [[0, 1], [[0, 2], [1, 2]]]
        assert result["scattered"] == [[2.0 * (rank + 1)], [1]]
        assert result["ops"] == [rank, 2, rank, 2]
        assert result["sets"] == ([0, 1], [0, 1])
        assert result["local"] == [1.0 + rank, 1.5]
        assert result["broadcast"] == [1.0]
        assert result["object"] == {"rank": 1}
        assert result["object in a set"] == result["objects in a set"] == [1]
        assert "hvd.broadcast_variables(model.variables" in result["global"]
        assert "pass num_groups and groups by name" in result["positions"]
        assert "op=hvd.Adasum" in result["instead"]["DistributedAdasumOptimizer"]
        assert "steps_per_epoch" in result["instead"]["join"]
        assert "no attribute 'nonsense'" in result["instead"]["nonsense"]
