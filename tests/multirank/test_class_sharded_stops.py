"""Runs with a divided last layer that are stopped, and continued on other numbers of ranks."""

import json

import numpy as np
import pytest

from tests.support.survival import run_to_the_end, run_with_fault

OPTIONS = (
    "--model={name: small_cnn, num_filters: [4, 8], num_hidden_units: 16}",
    "--optimizer={name: adamw, weight_decay: 0.01}",
    "--train.num_epochs=3",
    "--train.global_batch_size=48",
    "--train.ema={decay: 0.9}",
    "--augment=[{name: mixup}]",
    "--loss={name: cross_entropy, label_smoothing: 0.1}",
    "--schedule={name: constant, base_learning_rate: 0.003, warmup_epochs: 0}",
    "--evaluation.every_epochs=2",
    "--checkpoint.every_steps=7",
    "--logging={tensorboard: false, report: false}",
)
SHARDED = "--model.head=class_sharded"
# Two epochs of 29 steps are divided; within the second one, and the third.
LAUNCHES = ((2, "kill@before_step:rank=1:step=24"), (1, "term@before_step:step=40"), (3, ""))


def results_of(directory):
    """Returns losses and held-out metrics, and the weights of the saved model."""
    import keras

    run = directory / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = json.loads((run / "evaluation.json").read_text())
    model = keras.saving.load_model(run / "model.keras", compile=False)
    weights = [np.asarray(variable) for variable in model.weights]
    return [line["loss"] for line in lines], metrics["loss"], weights


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.ranks(3)
@pytest.mark.matrix("divided last layer: other numbers of ranks", cases=2)
def test_from_two_ranks_to_one_to_three_and_a_model_from_a_checkpoint(tmp_path):
    from hvd_imgcls.workflows.checkpoints.exporting import export_checkpoint
    from hvd_imgcls.workflows.checkpoints.finding import read_checkpoint

    changed, plain, other = tmp_path / "changed", tmp_path / "plain", tmp_path / "other"
    for directory in (changed, plain, other):
        directory.mkdir()
    for size, fault in LAUNCHES:
        if fault:
            run_with_fault(changed, fault, size=size, options=(*OPTIONS, SHARDED))
        else:
            run_to_the_end(changed, size=size, options=(*OPTIONS, SHARDED))
    run_to_the_end(plain, size=1, options=OPTIONS)
    losses, held_out, weights = results_of(changed)
    expected_losses, expected_held_out, expected_weights = results_of(plain)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-3)
    assert held_out == pytest.approx(expected_held_out, rel=1e-2)
    for got, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=5e-3)

    # The last checkpoint has all weights of the layer, as they are before averaging.
    path = tmp_path / "exported.keras"
    export_checkpoint(read_checkpoint(changed / "run"), path)
    import keras

    exported = keras.saving.load_model(path, compile=False)
    without_ema = keras.saving.load_model(changed / "run" / "model_without_ema.keras")
    for got, expected in zip(exported.weights, without_ema.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))

    # Another run begins with them, on whole layers too.
    start = f"--from={changed / 'run'}"
    brief = ("--train.num_epochs=1", "--schedule.base_learning_rate=1e-9", "--train.ema=null")
    for name, head in (("whole", ()), ("divided", (SHARDED,))):
        directory = other / name
        directory.mkdir()
        run_to_the_end(directory, size=2, options=(*OPTIONS, *brief, *head, start))
        got = results_of(directory)[2]
        for one, expected in zip(got, without_ema.weights, strict=True):
            np.testing.assert_allclose(one, np.asarray(expected), rtol=0, atol=1e-5)
