"""Kinds of gradients and ways to reduce them, outside and inside custom loops."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def apply_once(kind, wrap_keywords, steps=1):
    """Applies one gradient that differs between ranks; returns the change of the weights."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    rank = hvd.rank()
    variable = keras.Variable(np.zeros((4, 2), np.float32), name="table")
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(1.0), **wrap_keywords)

    @tf.function
    def step():
        if kind == "sparse":
            gradient = tf.IndexedSlices(
                tf.fill([rank + 1, 2], float(rank + 1)), tf.range(rank + 1), tf.constant([4, 2])
            )
        else:
            gradient = tf.reshape(tf.range(8.0), [4, 2]) * (-1.0) ** rank + rank
        optimizer.apply_gradients([(gradient, variable)])

    for _ in range(steps):
        step()
    return -variable.numpy()


@pytest.mark.ranks(2)
@pytest.mark.parametrize("keywords", [{}, {"sparse_as_dense": True}])
def test_indexed_slices_are_averaged_row_by_row(keywords):
    first, second = run_on_ranks(apply_once, arguments=["sparse", keywords])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[:, 0], [(1 + 2) / 2, 2 / 2, 0, 0])


@pytest.mark.ranks(2)
def test_indexed_slices_of_several_passes_are_added():
    keywords = {"backward_passes_per_step": 2}
    first, second = run_on_ranks(apply_once, arguments=["sparse", keywords, 2])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[:, 0], [3, 2, 0, 0])


def adasum(a, b):
    dot = (a * b).sum()
    return (1 - dot / (2 * (a * a).sum())) * a + (1 - dot / (2 * (b * b).sum())) * b


@pytest.mark.ranks(4)
@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_adasum_is_the_formula_of_its_paper(size):
    from hvd_imgcls.distributed import ReduceOp

    by_rank = run_on_ranks(apply_once, size, arguments=["dense", {"op": ReduceOp.ADASUM}])
    rows = [np.arange(8.0).reshape(4, 2) * (-1.0) ** r + r for r in range(size)]
    while len(rows) > 1:
        rows = [adasum(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    for result in by_rank:
        np.testing.assert_array_equal(result, by_rank[0])
        np.testing.assert_allclose(result, rows[0], rtol=1e-6)


def adasum_on_three_ranks():
    from hvd_imgcls.distributed import ReduceOp
    from hvd_imgcls.errors import ConfigError

    try:
        apply_once("dense", {"op": ReduceOp.ADASUM})
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.ranks(3)
@pytest.mark.slow
def test_adasum_on_three_ranks_is_refused_on_all():
    for message in run_on_ranks(adasum_on_three_ranks, 3):
        assert "3 ranks" in message
        assert "power of two" in message


def apply_in_process_set():
    import hvd_imgcls.keras as hvd

    members = hvd.add_process_set([0, 2])
    change = apply_once("dense", {"process_set": members})
    mean = hvd.allreduce(float(hvd.rank()), process_set=members) if members.included() else None
    facts = members.size(), members.rank(), members.included()
    hvd.barrier()
    removed = hvd.remove_process_set(members), hvd.remove_process_set(members)
    return change, None if mean is None else float(mean), facts, removed


@pytest.mark.ranks(3)
def test_process_set_averages_over_its_members_only():
    by_rank = run_on_ranks(
        apply_in_process_set, 3, environment={"HOROVOD_DYNAMIC_PROCESS_SETS": "1"}
    )
    local = [np.arange(8.0).reshape(4, 2) * (-1.0) ** rank + rank for rank in range(3)]
    for rank in (0, 2):
        np.testing.assert_allclose(by_rank[rank][0], (local[0] + local[2]) / 2)
        assert by_rank[rank][1] == 1.0
    np.testing.assert_allclose(by_rank[1][0], local[1])
    assert [facts for _, _, facts, _ in by_rank] == [
        (2, 0, True),
        (2, None, False),
        (2, 1, True),
    ]
    assert all(removed == (True, False) for *_, removed in by_rank)


def train_partly_local(scale, num_local):
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2), keras.layers.Dense(1)]
    )
    hvd.broadcast_variables(model.variables, 0)
    x = np.full((4, 3), 1.0 + hvd.rank(), np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    gradients = [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]
    before = [v.numpy() for v in model.trainable_variables]
    optimizer = hvd.PartialDistributedOptimizer(
        keras.optimizers.SGD(1.0, momentum=0.9),
        local_layers=model.layers[:num_local],
        scale_local_gradients=scale,
        check_every_steps=1,
    )
    optimizer.apply_gradients(
        [(tf.constant(g), v) for g, v in zip(gradients, model.trainable_variables, strict=True)]
    )
    changes = [b - v.numpy() for b, v in zip(before, model.trainable_variables, strict=True)]
    return gradients, changes


@pytest.mark.ranks(2)
@pytest.mark.parametrize("num_local", [0, 1, 2])
@pytest.mark.parametrize("scale", [True, False])
def test_gradients_of_local_layers_stay_on_their_rank(scale, num_local):
    by_rank = run_on_ranks(train_partly_local, arguments=[scale, num_local])
    for gradients, changes in by_rank:
        for index, change in enumerate(changes):
            mean = (by_rank[0][0][index] + by_rank[1][0][index]) / 2
            own = gradients[index] / (2 if scale else 1)
            expected = own if index < 2 * num_local else mean
            np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


def custom_loop(wrapper_keywords):
    """A loop in the style of Horovod's TensorFlow 2 examples."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    random = np.random.default_rng(hvd.rank())

    @tf.function
    def step(x, y, first):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        tape = hvd.DistributedGradientTape(tape, check_every_steps=2, **wrapper_keywords)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    for number in range(5):
        x = random.normal(size=(4, 3)).astype(np.float32)
        step(x, x[:, :1], number == 0)
        if number == 0:
            hvd.broadcast_variables(model.variables, root_rank=0)
            hvd.broadcast_variables(optimizer.variables, root_rank=0)
    return [v.numpy() for v in [*model.variables, *optimizer.variables]]


@pytest.mark.ranks(2)
@pytest.mark.parametrize("keywords", [{}, {"groups": 1}, {"gradient_predivide_factor": 2.0}])
def test_custom_loop_with_tape_keeps_ranks_equal(keywords):
    first, second = run_on_ranks(custom_loop, arguments=[keywords])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def tape_structures():
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    a, b = keras.Variable(1.0), tf.Variable([2.0, 3.0])
    unused = tf.Variable(5.0)
    plain = tf.GradientTape(persistent=True)
    with hvd.DistributedGradientTape(plain) as tape:
        loss = a * a * (hvd.rank() + 1) + tf.reduce_sum(b) * (hvd.rank() + 1)
    nested = tape.gradient(loss, {"a": a, "rest": [b, unused]})
    single = tape.gradient(loss, b)
    local = hvd.DistributedGradientTape(plain, scale_local_gradients=False)
    local.register_local_source(a)
    partly = local.gradient(loss, [b, a])
    return (
        float(nested["a"]),
        nested["rest"][0].numpy().tolist(),
        nested["rest"][1],
        single.numpy().tolist(),
        float(partly[1]),
    )


@pytest.mark.ranks(2)
def test_tape_keeps_the_structure_of_its_sources():
    for rank, result in enumerate(run_on_ranks(tape_structures)):
        assert result == (3.0, [1.5, 1.5], None, [1.5, 1.5], 2.0 * (rank + 1))
