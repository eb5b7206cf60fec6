"""mixed_float16: all ranks skip a step together, or none does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks
from tests.support.small_data import make_data, part_of_rank


def train_with_infinity(arrangement, wrap_keywords, optimizer_keywords):
    """Takes four steps; in the second, rank 1 alone has an infinite gradient."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd

    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(10.0, **optimizer_keywords)
    if arrangement == "scaling wrapped by the user":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=hvd.DistributedOptimizer(optimizer, **wrap_keywords),
        loss="mse",
        loss_weights=[1e-3],  # so that the initial scale of 2**15 overflows nowhere else
    )
    x, y, share = part_of_rank(*make_data(), batch=6)
    x = x.copy()
    if hvd.rank() == 1:
        x[share] = np.inf
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            scaling = model.optimizer
            seen.append(
                (
                    float(scaling.dynamic_scale.numpy()),
                    int(scaling.inner_optimizer._iterations.numpy()),
                    model.layers[0].kernel.numpy().copy(),
                )
            )

    dataset = tf.data.Dataset.from_tensor_slices((x, y.astype(np.float32))).batch(share)
    model.fit(
        dataset,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), Watch()],
    )
    return type(model.optimizer).__name__, seen


CASES = [
    ("scaling wrapped by compile()", {}, {}),
    ("scaling wrapped by the user", {}, {}),
    ("scaling wrapped by compile()", {"sparse_as_dense": True, "groups": 2}, {}),
]


@pytest.mark.ranks(2)
@pytest.mark.parametrize(("arrangement", "wrap", "keywords"), CASES)
def test_infinity_on_one_rank_makes_all_skip_and_halve_the_scale(arrangement, wrap, keywords):
    by_rank = run_on_ranks(
        train_with_infinity, arguments=[arrangement, wrap, keywords], timeout_seconds=90
    )
    for name, seen in by_rank:
        assert name == "LossScaleOptimizer"
        assert [scale for scale, _, _ in seen] == [2.0**15, 2.0**14, 2.0**14, 2.0**14]
        assert [iterations for _, iterations, _ in seen] == [1, 1, 2, 3]
        np.testing.assert_array_equal(seen[0][2], seen[1][2])  # the step was skipped
        assert not np.array_equal(seen[1][2], seen[2][2])
        assert np.isfinite(seen[3][2]).all()
    for (_, _, a), (_, _, b) in zip(by_rank[0][1], by_rank[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.ranks(2)
def test_infinity_under_accumulation_by_keras_is_skipped_by_all():
    by_rank = run_on_ranks(
        train_with_infinity,
        arguments=["scaling wrapped by compile()", {}, {"gradient_accumulation_steps": 2}],
        timeout_seconds=90,
    )
    for _, seen in by_rank:
        assert [scale for scale, _, _ in seen] == [2.0**15, 2.0**14, 2.0**14, 2.0**14]
        assert [passes for _, passes, _ in seen] == [1, 1, 2, 3]
    for (_, _, a), (_, _, b) in zip(by_rank[0][1], by_rank[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.ranks(2)
def test_infinity_under_accumulation_over_passes_skips_one_update_of_all():
    by_rank = run_on_ranks(
        train_with_infinity,
        arguments=["scaling wrapped by compile()", {"backward_passes_per_step": 2}, {}],
        timeout_seconds=90,
    )
    for _, seen in by_rank:
        assert [scale for scale, _, _ in seen] == [2.0**15, 2.0**14, 2.0**14, 2.0**14]
        assert [updates for _, updates, _ in seen] == [0, 0, 0, 1]
        assert np.isfinite(seen[3][2]).all()
    for (_, _, a), (_, _, b) in zip(by_rank[0][1], by_rank[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
