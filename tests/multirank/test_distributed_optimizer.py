"""The wrapped optimizer on real ranks: same weights everywhere, the right ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.launch import run_on_ranks
from tests.support.small_data import make_data, part_of_rank

OPTIMIZERS = [
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Adafactor",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Muon",
    "ScheduleFreeAdamW",
]


def make_model(seed=0):
    import keras

    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="tanh", kernel_initializer=_uniform(seed)),
            keras.layers.Dense(3, kernel_initializer=_uniform(seed + 1)),
        ]
    )


def _uniform(seed):
    import keras

    return keras.initializers.RandomUniform(-0.5, 0.5, seed=seed)


def train(optimizer_name, keywords, wrap_keywords, fit_keywords):
    """Trains two epochs and returns weights, optimizer state and losses."""
    import keras

    import hvd_imgcls.keras as hvd

    model = make_model()
    optimizer = getattr(keras.optimizers, optimizer_name)(**keywords)
    model.compile(
        optimizer=hvd.DistributedOptimizer(optimizer, **wrap_keywords),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=fit_keywords.pop("steps_per_execution", 1),
    )
    x, y, share = part_of_rank(*make_data(), batch=fit_keywords.pop("batch", 12))
    history = model.fit(
        x,
        y,
        batch_size=share,
        shuffle=False,
        epochs=2,
        verbose=0,
        callbacks=[
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
        ],
        **fit_keywords,
    )
    return {
        "weights": [np.asarray(w) for w in model.get_weights()],
        "state": [np.asarray(v) for v in model.optimizer.variables],
        "loss": history.history["loss"],
        "iterations": int(np.asarray(model.optimizer.iterations)),
    }


def train_all(jobs):
    return [train(*job) for job in jobs]


def single_process(jobs):
    """The same jobs on one rank, in a process of its own."""
    return run_on_ranks(train_all, size=1, arguments=[jobs], timeout_seconds=300)[0]


def assert_equal_on_all_ranks(by_rank):
    for other in by_rank[1:]:
        for key in ("weights", "state"):
            for a, b in zip(by_rank[0][key], other[key], strict=True):
                np.testing.assert_array_equal(a, b)


def assert_close(one, several, rtol=2e-4, atol=2e-6):
    for a, b in zip(one["weights"], several["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    np.testing.assert_allclose(one["loss"], several["loss"], rtol=1e-4)


@pytest.mark.ranks(2)
def test_every_optimizer_on_two_ranks_equals_one_rank_with_the_same_global_batch():
    jobs = [(name, {"learning_rate": 0.01}, {}, {}) for name in OPTIMIZERS]
    one = single_process(jobs)
    two = run_on_ranks(train_all, arguments=[jobs], timeout_seconds=300)
    for index in range(len(OPTIMIZERS)):
        assert_equal_on_all_ranks([rank[index] for rank in two])
        assert_close(one[index], two[0][index])
        assert two[0][index]["iterations"] == 4


@pytest.mark.ranks(3)
@pytest.mark.parametrize("size", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_more_ranks_equal_one_rank(size):
    jobs = [("SGD", {"learning_rate": 0.1, "momentum": 0.9}, {}, {})]
    one = single_process(jobs)
    several = run_on_ranks(train_all, size, arguments=[jobs], timeout_seconds=300)
    assert_equal_on_all_ranks([rank[0] for rank in several])
    assert_close(one[0], several[0][0])


FEATURES = {
    "clipping by norm after the reduction": ({"clipnorm": 0.02}, {}, {}),
    "clipping by global norm after the reduction": ({"global_clipnorm": 0.02}, {}, {}),
    "clipping by value after the reduction": ({"clipvalue": 0.005}, {}, {}),
    "moving average of the weights": ({"use_ema": True, "ema_overwrite_frequency": 2}, {}, {}),
    "weight decay": ({"weight_decay": 0.1}, {}, {}),
    "several steps per execution": ({}, {}, {"steps_per_execution": 2}),
    "accumulation by Keras": ({"gradient_accumulation_steps": 2}, {}, {}),
    "predivision": ({}, {"gradient_predivide_factor": 2.0}, {}),
    "groups by number": ({}, {"groups": 3}, {}),
    "frequent comparison": ({}, {"check_every_steps": 1}, {}),
}


@pytest.mark.ranks(2)
def test_features_of_optimizers_on_two_ranks_equal_one_rank():
    base = {"learning_rate": 0.5, "momentum": 0.9}
    jobs = [("SGD", {**base, **keywords}, wrap, fit) for keywords, wrap, fit in FEATURES.values()]
    one = single_process(jobs)
    two = run_on_ranks(train_all, arguments=[jobs], timeout_seconds=300)
    for index, _ in enumerate(FEATURES):
        assert_equal_on_all_ranks([rank[index] for rank in two])
        assert_close(one[index], two[0][index])
    # Each feature must have had an effect, or the equality shows nothing.
    plain = single_process([("SGD", base, {}, {})])[0]
    for index, (keywords, _, _) in enumerate(FEATURES.values()):
        if keywords:
            assert not np.allclose(plain["weights"][0], one[index]["weights"][0], rtol=1e-3)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_accumulation_over_passes_equals_one_big_batch(name):
    config = {"learning_rate": 0.1}
    accumulate = {"backward_passes_per_step": 2, "average_aggregated_gradients": True}
    big = single_process([(name, config, {}, {"batch": 12})])[0]
    alone = single_process([(name, config, accumulate, {"batch": 6})])[0]
    two = run_on_ranks(train_all, arguments=[[(name, config, accumulate, {"batch": 6})]])
    assert_equal_on_all_ranks([rank[0] for rank in two])
    for accumulated in (alone, two[0][0]):
        assert accumulated["iterations"] == big["iterations"] == 4  # updates, not passes
        for a, b in zip(big["weights"], accumulated["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.ranks(2)
def test_sum_of_passes_equals_the_mean_with_a_learning_rate_times_the_number_of_passes():
    passes = {"backward_passes_per_step": 2}
    mean = ("SGD", {"learning_rate": 0.2}, {**passes, "average_aggregated_gradients": True}, {})
    total = ("SGD", {"learning_rate": 0.1}, passes, {})
    for rank in run_on_ranks(train_all, arguments=[[mean, total]]):
        for a, b in zip(rank[0]["weights"], rank[1]["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def train_with_operation(operation, compression, keywords):
    import hvd_imgcls.keras as hvd

    wrap = {"op": getattr(hvd, operation), "compression": getattr(hvd.Compression, compression)}
    return train("SGD", keywords, wrap, {})


@pytest.mark.ranks(2)
def test_sum_over_ranks_equals_the_mean_with_a_learning_rate_times_the_number_of_ranks():
    mean = run_on_ranks(train_with_operation, arguments=["Average", "none", {"learning_rate": 0.2}])
    total = run_on_ranks(train_with_operation, arguments=["Sum", "none", {"learning_rate": 0.1}])
    for a, b in zip(mean[0]["weights"], total[0]["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.ranks(2)
def test_fp16_compression_is_close_to_none_and_equal_on_all_ranks():
    keywords = {"learning_rate": 0.1}
    exact = run_on_ranks(train_with_operation, arguments=["Average", "none", keywords])
    half = run_on_ranks(train_with_operation, arguments=["Average", "fp16", keywords])
    assert_equal_on_all_ranks(half)
    assert not np.array_equal(exact[0]["weights"][0], half[0]["weights"][0])
    assert_close(exact[0], half[0], rtol=2e-3, atol=2e-4)
