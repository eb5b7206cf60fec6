"""`data.allocation: dynamic` changes who computes what, and nothing of the result."""

from __future__ import annotations

import numpy as np
import pytest

from tests.multirank.test_states import DIGITS, train
from tests.support.launch import run_on_ranks

DYNAMIC = "--data.allocation={name: dynamic, window_seconds: 0.002, min_gain: 0.001}"
OPTIONS = (
    "--train.num_epochs=2",
    "--train.global_batch_size=64",
    "--train.last_batch=weighted",
    "--train.check_every_steps=5",
    "--model.num_filters=[4, 4]",
    "--schedule={name: constant, base_learning_rate: 0.05, warmup_epochs: 0}",
    "--logging={tensorboard: false, report: false}",
    "--checkpoint=null",
)
SYNCHRONIZED = "--synchronization.batch_normalization=synchronized"
VARIANTS = {
    "no batch normalisation": ("--model={name: given}",),
    "synchronised batch normalisation": (SYNCHRONIZED,),
    "accumulation and mixup": (
        SYNCHRONIZED,
        "--train.gradient_accumulation_steps=2",
        "--augment=[{name: mixup}]",
    ),
    "class weights and delayed": (
        SYNCHRONIZED,
        "--train.class_weights=balanced",
        "--synchronization.mode=delayed",
    ),
}


def train_by_given_parts(directory, name, options, parts):
    """Trains; every decision is the next of `parts`, if given."""
    import itertools

    from hvd_imgcls.workflows.training import balancing, model
    from tests.multirank import test_states

    decisions = itertools.cycle(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balancing, "balanced", lambda *_, **__: next(decisions))
        patch.setattr(test_states, "small_model", without_batch_normalization)
        allocations = []
        make = model.Allocation
        patch.setattr(
            model, "Allocation", lambda plan: allocations.append(make(plan)) or allocations[0]
        )
        result = train(directory, name, DIGITS, options)
    result["changes"] = [one.state() for one in allocations]
    return result


def train_both_ways(directory, options):
    parts = [(12, 52), (40, 24), (60, 4), (32, 32)]
    return (
        train_by_given_parts(directory, "static", options, [(32, 32)]),
        train_by_given_parts(directory, "dynamic", (*options, DYNAMIC), parts),
    )


def without_batch_normalization():
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


@pytest.mark.ranks(2)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("variant", VARIANTS)
def test_other_parts_give_the_same_training_within_rounding(tmp_path, variant):
    options = (*OPTIONS, *VARIANTS[variant])
    results = run_on_ranks(train_both_ways, arguments=[str(tmp_path), options], timeout_seconds=300)
    static, dynamic = zip(*results, strict=True)
    assert static[0]["changes"] == []
    assert dynamic[0]["changes"] == dynamic[1]["changes"]
    assert len(dynamic[0]["changes"][0]["steps"]) > 4
    for expected, got in zip(static[0]["weights"], dynamic[0]["weights"], strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4)
    for expected, got in zip(static[0]["epochs"], dynamic[0]["epochs"], strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert got["accuracy"] == pytest.approx(expected["accuracy"], abs=2e-3)
    for one, other in zip(dynamic[0]["weights"], dynamic[1]["weights"], strict=True):
        np.testing.assert_array_equal(one, other)
