"""Ranks that diverge: all stop together, with one message that names the cause.

What is tested where:

| what differs, or is not finite | tested by |
|---|---|
| NaN, infinity in an image, the loss, a gradient | here; a NaN image: `test_non_finite` |
| shape of a variable, a variable too many | `test_consistency`, `test_unequal_ranks` |
| data type of a variable | here; of other tensors: `test_horovods_errors` |
| configuration | `test_program`, `test_consistency` |
| images, version of the code | here |
| early stopping on one rank | `test_rank_safe` |
| number of batches | `test_consistency`, `test_fit_agreement`, `test_fit_start` |
| weights, momenta, after some steps | `test_consistency` |
| learning rate, after some steps | here |
| the number of a rank is given twice | here |
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.multirank.test_consistency import broadcast, fit, message_of, rank, wrapped
from tests.support.launch import run_on_ranks
from tests.support.program import running
from tests.support.survival import ENVIRONMENT, ended
from tests.support.trainings import write_images

GROUP = "F: divergence"
BAD_STEP, STEPS = 3, 6
PLACES, VALUES = ("input", "loss", "gradient"), ("nan", "inf")


def train_with(place, value, policy):
    """Trains with a number that is not finite, on rank 1 in one step; returns what came of it."""
    import keras
    import tensorflow as tf

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
    from tests.multirank.test_unequal_ranks import message_of as any_message_of

    step = tf.Variable(0, dtype=tf.int64)

    def bad(like):
        is_bad = (step == BAD_STEP) & (hvd.rank() == 1)
        return tf.where(is_bad, tf.constant(float(value), like.dtype), tf.zeros([], like.dtype))

    @tf.custom_gradient
    def with_bad_gradient(values):
        return tf.identity(values), lambda upstream: upstream + bad(upstream)

    class Model(keras.Sequential):
        def train_step(self, data):
            step.assign_add(1)
            images, targets = data
            if place == "input":
                images += bad(images)
            return super().train_step((images, targets))

        def compute_loss(self, *arguments, **keywords):
            loss = super().compute_loss(*arguments, **keywords)
            if place == "loss":
                loss *= 1 + bad(loss)
            return with_bad_gradient(loss) if place == "gradient" else loss

    keras.utils.set_random_seed(3)
    model = Model([keras.Input((4,)), keras.layers.Dense(2)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1), skip_non_finite=True)
    model.compile(optimizer, loss="mse")
    callbacks = [broadcast(), hvd.callbacks.NonFiniteCallback(policy)]
    x = np.random.default_rng(rank()).normal(size=(4 * STEPS, 4)).astype(np.float32)
    message = any_message_of(
        lambda: model.fit(x, x[:, :2], batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
    )
    guard = synchronizer_of(model.optimizer).guard
    return {
        "message": message,
        "weights": model.get_weights(),
        "skipped": int(guard.num_skipped_updates.numpy()),
        "steps": int(step.numpy()),
    }


def train_with_all(value):
    return {
        (place, policy): train_with(place, value, policy)
        for place in PLACES
        for policy in ("stop", "skip")
    }


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP, cases=6)
@pytest.mark.parametrize("value", VALUES)
def test_all_ranks_stop_at_or_skip_what_is_not_finite_on_one(value):
    first, second = run_on_ranks(train_with_all, arguments=[value])
    for case, result in first.items():
        other = second[case]
        assert result["message"] == other["message"]
        assert result["skipped"] == other["skipped"] == 1, case
        for a, b in zip(result["weights"], other["weights"], strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.isfinite(a).all(), case
        if case[1] == "stop":
            assert result["steps"] == other["steps"] == BAD_STEP, case
            assert "NonFiniteError" in result["message"]
            assert "rank 1" in result["message"]
            assert f"step {BAD_STEP}" in result["message"]
        else:
            assert result["message"] is None
            assert result["steps"] == STEPS


def plant_dtype():
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    if rank() == 1:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="float64")])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    return message_of(lambda: model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0))


def plant_learning_rate():
    import keras

    class Drift(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0 and rank() == 1:
                self.model.optimizer.learning_rate = 0.2

    return message_of(lambda: fit(wrapped(check_every_steps=1), [broadcast(), Drift()]))


@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (plant_dtype, ["float32[2, 1] on rank 0, float64[2, 1] on rank 1"]),
        (plant_learning_rate, ["ranks differ after", "learning_rate"]),
    ],
)
def test_what_differs_on_one_rank_is_named_on_all(plant, expected):
    first, second = run_on_ranks(plant, timeout_seconds=60)
    assert first == second
    assert first is not None
    for part in expected:
        assert part in first


# What a rank does before it runs the command.
PROGRAM = """
import os, sys
from hvd_imgcls.cli import run
rank = os.environ["HOROVOD_RANK"]
{first}
sys.argv = ["hvd-imgcls", "train", *sys.argv[1:]]
run()
"""
DIFFERENT = {
    "images": ("os.chdir(f'rank-{rank}')", "data: ", 2),
    "version": (
        "from hvd_imgcls.workflows.training import beginning\n"
        "beginning.code_version = lambda: f'1.0.{rank}'",
        "version: 1.0.0 on rank 0, 1.0.1 on rank 1",
        2,
    ),
}
PIPELINE = """
data: {source: {name: image_folder, path: images, held_out_fraction: 0.2}, image_size: 12}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 12, num_epochs: 1}
"""


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("name", DIFFERENT)
def test_a_rank_that_starts_otherwise_is_named_in_one_message(name, tmp_path):
    first, expected, exit_code = DIFFERENT[name]
    for folder in (tmp_path, tmp_path / "rank-0", tmp_path / "rank-1"):
        write_images(folder / "images")
    (tmp_path / "rank-1" / "images" / "cat" / "003.jpg").unlink()
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    words = [sys.executable, "-c", PROGRAM.format(first=first), str(pipeline)]
    with running(words, size=2, cwd=tmp_path, environment=ENVIRONMENT) as program:
        outcome = ended(program)
    assert outcome.exit_code == exit_code, outcome.output
    assert outcome.output.count("values differ between ranks") == 1, outcome.output
    assert expected in outcome.output, outcome.output
    assert "Traceback" not in outcome.output, outcome.output
    assert not list(Path(tmp_path).rglob("metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
def test_two_ranks_with_one_number_end(tmp_path):
    """They cannot find each other: Horovod's rendezvous ends after its limit."""
    write_images(tmp_path / "images")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    first = "os.environ['HOROVOD_RANK'] = '0'"
    words = [sys.executable, "-c", PROGRAM.format(first=first), "pipeline.yaml"]
    limit = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "10"}
    with running(words, size=2, cwd=tmp_path, environment={**ENVIRONMENT, **limit}) as program:
        outcome = ended(program)
    assert outcome.exit_code not in (0, 75), outcome.output
    assert "ended first" in outcome.output, outcome.output
