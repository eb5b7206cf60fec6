"""NaN on one rank: all stop with its rank, step and examples, or all skip the step."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.data.order.positions import rank_rows
from hvd_imgcls.data.sources.digits import Digits
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import make_plan
from tests.support.launch import run_on_ranks

PIPELINE = """
data: {source: {name: digits}}
model: {name: given}
optimizer: {name: sgd, momentum: 0.5}
schedule: {name: constant, base_learning_rate: 0.1, scaling: none}
synchronization: {batch_normalization: synchronized}
train: {global_batch_size: 64, num_steps: 30}
"""
STEPS_PER_EPOCH = 22


def plan_of(config, size=1):
    source = Digits(0.2, 0)
    return make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=10,
        topology=Topology(
            rank=0, size=size, local_rank=0, local_size=size, cross_rank=0, cross_size=1
        ),
    )


def find_bad():
    """Returns an example of the second epoch alone, and its step; rank 1 of 2 reads it."""
    plan = plan_of(parse_config(PIPELINE, [], origin="x.yaml"))
    first, second = (rank_rows(plan, rank=0, epoch=epoch).examples for epoch in (0, 1))
    step, place = np.argwhere(~np.isin(second[:, 32:], first))[0]
    return int(second[step, 32 + place]), STEPS_PER_EPOCH + int(step)


def trapped_model(example):
    """Returns a model that answers one image of the training split with NaN."""
    import keras

    trap = Digits(0.2, 0).images("train")[example].astype(np.float32)

    class Trap(keras.layers.Layer):
        def call(self, images):
            same = keras.ops.all(keras.ops.cast(images, "float32") == trap, axis=(1, 2, 3))
            images = keras.ops.cast(images, self.compute_dtype)
            return keras.ops.where(same[:, None, None, None], float("nan"), images)

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            Trap(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, dtype="float32"),
        ]
    )


def train_with_trap(folder, example, words):
    """Returns what came of every training, one for each list of words."""
    import keras

    from hvd_imgcls import distributed, logs
    from hvd_imgcls.errors import NonFiniteError
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
    from hvd_imgcls.workflows.train import train

    configure, distributed.devices.configure = distributed.devices.configure, lambda **_: None
    collectives = distributed.start()
    results = {}
    for name, overrides in words.items():
        run_dir = folder / f"{name}-{collectives.topology.size}"
        config = parse_config(PIPELINE, [*overrides, f"--run_dir={run_dir}"], origin="x.yaml")
        keras.config.set_dtype_policy(config.train.precision)
        model = trapped_model(example)
        result = {"error": None, "files": [], "scale": None}
        try:
            train(config, model=model)
        except NonFiniteError as error:
            result["error"] = str(error)
        optimizer = model.optimizer
        guard = synchronizer_of(optimizer).guard
        result["held_back"] = int(guard.num_skipped_updates.numpy())
        result["updates"] = int(optimizer.iterations.numpy())
        result["weights"] = model.get_weights()
        if config.train.precision == "mixed_float16":
            result["scale"] = float(optimizer.dynamic_scale.numpy())
        collectives.barrier()
        result["files"] = sorted(path.name for path in run_dir.iterdir())
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
        result["metrics"] = [json.loads(line) for line in lines]
        results[name] = result
    logs.stop()
    distributed.devices.configure = configure
    return results


BAD_EXAMPLE, BAD_STEP = find_bad()

WORDS = {
    "stop": [],
    "skip": ["--train.non_finite=skip"],
    "accumulate": ["--train.non_finite=skip", "--train.gradient_accumulation_steps=2"],
    # Synchronised moments are those of all ranks: a NaN in them is everybody's.
    "local": ["--synchronization.batch_normalization=local"],
    "half": ["--train.precision=mixed_float16", "--optimizer.momentum=0"],
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    words = {name: WORDS[name] for name in ("stop", "skip")}
    return run_on_ranks(train_with_trap, 1, arguments=(folder, BAD_EXAMPLE, words))[0]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return run_on_ranks(train_with_trap, 2, arguments=(folder, BAD_EXAMPLE, WORDS))


@pytest.mark.ranks(2)
def test_all_ranks_stop_with_one_message_of_rank_step_and_example(together, alone):
    name = Digits(0.2, 0).name_of("train", BAD_EXAMPLE)
    first, second = (result["local"]["error"] for result in together)
    assert first == second
    lines = first.splitlines()
    assert lines[0] == f"epoch 2, step {BAD_STEP + 1}: the gradient of rank 1 is NaN or infinite"
    assert lines[1] == f"  rank 1: the loss or the gradient is NaN or infinite for {name}"
    assert "to fix it: inspect the examples" in lines[2]
    assert "the gradient of rank 0 is" in alone["stop"]["error"]
    assert alone["stop"]["error"].splitlines()[1].endswith(f"NaN or infinite for {name}")


@pytest.mark.ranks(2)
def test_under_synchronized_normalization_the_example_is_found_too(together):
    name = Digits(0.2, 0).name_of("train", BAD_EXAMPLE)
    lines = together[0]["stop"]["error"].splitlines()
    assert lines[0].endswith("the gradient of ranks 0, 1 is NaN or infinite")
    assert lines[1].startswith("  rank 0: no single example is the cause: ")
    assert lines[2] == f"  rank 1: the loss or the gradient is NaN or infinite for {name}"


@pytest.mark.ranks(2)
def test_stopping_leaves_weights_unspoilt_and_writes_no_model(together):
    for result in together:
        for name in ("stop", "local"):
            trained = result[name]["weights"][:4] + result[name]["weights"][-2:]
            assert all(np.isfinite(weight).all() for weight in trained)
            assert "model.keras" not in result[name]["files"]
            assert result[name]["updates"] == BAD_STEP + 1


@pytest.mark.ranks(2)
def test_skipping_counts_the_step_and_leaves_no_other_trace(together, alone):
    for result in (*together, alone):
        skipped = result["skip"]
        assert skipped["error"] is None
        assert skipped["held_back"] == 1
        assert skipped["updates"] == 30
        assert [line["skipped_steps"] for line in skipped["metrics"]] == [0, 1]
        assert all(np.isfinite(line["loss"]) for line in skipped["metrics"])
        assert "model.keras" in skipped["files"]
    for own, other in zip(
        together[0]["skip"]["weights"], together[1]["skip"]["weights"], strict=True
    ):
        np.testing.assert_array_equal(own, other)


@pytest.mark.ranks(2)
def test_skipping_equals_a_training_without_the_batch_on_one_and_two_ranks(together, alone):
    wanted, loss = run_on_ranks(train_without_the_batch, 1, arguments=(BAD_EXAMPLE,))[0]
    for result in (alone, together[0]):
        for own, other in zip(result["skip"]["weights"], wanted, strict=True):
            np.testing.assert_allclose(own, other, rtol=2e-3, atol=2e-5)
        assert result["skip"]["metrics"][1]["loss"] == pytest.approx(loss, rel=1e-4)


def train_without_the_batch(example):
    """Returns the weights of plain Keras, and its loss in the second epoch."""
    import keras
    import tensorflow as tf

    from hvd_imgcls.data.pipeline.dataset import training_dataset

    config = parse_config(PIPELINE, [], origin="x.yaml")
    model = trapped_model(example)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), loss)
    batches = list(training_dataset(Digits(0.2, 0), config, plan_of(config), rank=0))
    del batches[BAD_STEP]
    for part in (batches[:STEPS_PER_EPOCH], batches[STEPS_PER_EPOCH:]):
        whole = [tf.concat(column, 0) for column in zip(*part, strict=True)]
        history = model.fit(
            whole[0], whole[1], batch_size=64, shuffle=False, verbose=0, sample_weight=whole[2]
        )
    return model.get_weights(), history.history["loss"][0]


@pytest.mark.ranks(2)
def test_skipping_with_accumulation_skips_the_whole_step(together):
    for result in together:
        assert result["accumulate"]["held_back"] == 1
        assert result["accumulate"]["updates"] == 30
        assert all(np.isfinite(weight).all() for weight in result["accumulate"]["weights"])


@pytest.mark.ranks(2)
def test_float16_infinities_lower_the_scale_and_stop_nothing(together):
    for result in together:
        half = result["half"]
        assert half["error"] is None
        assert half["held_back"] == 0
        assert half["scale"] == 2.0**14
        assert half["updates"] == 29


def fit_of_ones_own(kind):
    """Returns what a program of one's own sees."""
    import keras

    import hvd_imgcls.keras as hvd

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    if kind == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=4)
    else:
        optimizer = keras.optimizers.SGD(0.1)
    held = kind != "applied"
    model.compile(hvd.DistributedOptimizer(optimizer, skip_non_finite=held), loss="mse")
    x = np.ones((16, 2), np.float32)
    if hvd.rank() == 1:
        x[4:] = np.nan
    action = "stop" if kind == "applied" else "skip"
    callback = hvd.callbacks.NonFiniteCallback(action, max_in_a_row=3)
    try:
        model.fit(
            x,
            x[:, :1],
            batch_size=2,
            shuffle=False,
            verbose=0,
            callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), callback],
        )
    except Exception as error:
        return f"{type(error).__name__}: {error}", callback.num_skipped
    return None, callback.num_skipped


@pytest.mark.ranks(2)
def test_too_many_skipped_steps_in_a_row_end_all_ranks():
    first, second = run_on_ranks(fit_of_ones_own, arguments=["held back"])
    assert first == second
    assert first[0].startswith("NonFiniteError: epoch 1, step 5: the gradient of rank 1")
    assert "3 steps in a row were skipped: training diverges" in first[0]


@pytest.mark.ranks(2)
def test_with_loss_scaling_steps_count_once_the_scale_is_down_to_one():
    # The scale of 4 is halved in steps 3 and 4; steps 5, 6 and 7 are beyond it.
    first, second = run_on_ranks(fit_of_ones_own, arguments=["scaled"])
    assert first == second
    assert first[0].startswith("NonFiniteError: epoch 1, step 7: ")
    assert first[1] == 3


@pytest.mark.ranks(2)
def test_an_optimizer_that_applies_everything_is_refused():
    for error, _ in run_on_ranks(fit_of_ones_own, arguments=["applied"]):
        assert error.startswith("ConfigError: NonFiniteCallback: got 'an optimizer that applies")
