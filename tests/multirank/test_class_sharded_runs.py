"""Runs with `model.head: class_sharded` give the same training and the same model as `dense`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hvd_imgcls.config import parse_config
from tests.support.launch import run_on_ranks

PIPELINE = """
data: {source: {name: digits}}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 96, num_epochs: 2}
logging: {tensorboard: false, report: false}
checkpoint: null
watchdog: null
"""
SMALL = "{name: small_cnn, num_filters: [4, 8], num_hidden_units: 16, head: %s}"
PLAIN = "{name: plain_cnn, num_filters: [8, 8], num_convolutions: 1, head: %s}"
CAE = "{name: cae, num_filters: [4, 8], head: %s}"

CASES = {
    "mixed, smoothed, weighted, accumulated, averaged": (
        SMALL,
        "--augment=[{name: mixup, alpha: 0.5}, {name: cutmix}]",
        "--loss={name: cross_entropy, label_smoothing: 0.1}",
        "--train.class_weights=balanced",
        "--train.last_batch=weighted",
        "--train.gradient_accumulation_steps=2",
        "--train.ema={decay: 0.9}",
        "--optimizer={name: adamw, weight_decay: 0.01}",
        "--schedule.base_learning_rate=0.003",
        "--evaluation.every_epochs=1",
    ),
    "frozen trunk, lookahead, synchronised batch statistics": (
        PLAIN,
        "--fine_tuning.freeze=[{layers: [trunk], epochs: 1}]",
        "--fine_tuning.layer_decay=0.9",
        "--train.lookahead={every_steps: 3}",
        "--optimizer.nesterov=true",
        "--synchronization.batch_normalization=synchronized",
        "--train.recalibration_batches=2",
    ),
    "frozen last layer, odd batches": (
        SMALL,
        "--fine_tuning.freeze=[{layers: [logits], epochs: 1}]",
        "--train.global_batch_size=90",
        "--train.num_steps=17",
        "--train.num_epochs=null",
    ),
    "muon, adaptive clipping": (
        SMALL,
        "--optimizer={name: muon}",
        "--schedule.base_learning_rate=0.01",
        "--gradient_clipping={name: adaptive}",
        "--train.num_epochs=1",
    ),
    "clipped by value, l2, half precision": (
        SMALL,
        "--optimizer={name: sgd, weight_decay: 0.001, weight_decay_kind: l2, "
        "momentum_correction: true}",
        "--gradient_clipping={name: value, max_value: 0.01}",
        "--synchronization.compression=fp16",
        "--train.precision=mixed_bfloat16",
        "--train.num_epochs=1",
    ),
    "pre-training": (
        CAE,
        "--pretraining={num_epochs: 1}",
        "--train.num_epochs=1",
    ),
}
# Roundings grow: in bfloat16, by orthogonalisation, and by divisions by small second moments.
TOLERANCES = {
    "clipped by value, l2, half precision": 5e-2,
    "muon, adaptive clipping": 2e-2,
}


DRAWN = "{name: class_sharded, parts: 1, sampled_fraction: 0.5}"
# Of 4 images in a step, so that not all ten classes are drawn because of them. In one pass: with
# several, other images are in a pass on another number of ranks.
FEW_IMAGES = (
    "--train.global_batch_size=4",
    "--train.gradient_accumulation_steps=1",
    "--train.num_steps=60",
    "--train.num_epochs=null",
)


def train_each(folder, names, heads, more=()):
    """Returns losses, metrics and weights of every run, on the root."""
    import keras

    from hvd_imgcls import distributed, logs
    from hvd_imgcls.workflows.train import train

    # The second run of a process: thread counts can be set no more.
    distributed.devices.configure = lambda **_: None
    outcomes = {}
    for name in names:
        model, *options = CASES[name]
        for head in heads:
            run_dir = folder / f"{list(CASES).index(name)}-{heads.index(head)}"
            words = [f"--model={model % head}", *options, *more, f"--run_dir={run_dir}"]
            config = parse_config(PIPELINE, words, origin="x.yaml")
            result = train(config, verbosity=logs.Verbosity.QUIET)
            lines = (run_dir / "metrics.jsonl").read_text().splitlines()
            saved = keras.saving.load_model(run_dir / "model.keras", compile=False)
            outcomes[name, head] = {
                "losses": [(one["loss"], one["accuracy"]) for one in map(json.loads, lines)],
                "held out": [json.loads(line).get("val_loss") for line in lines],
                "metrics": (result.metrics["loss"], result.metrics["top1"]),
                "without ema": (result.metrics_without_ema or {}).get("loss"),
                "digest": result.weights_digest,
                "layers": [type(layer).__name__ for layer in saved.layers],
                "weights": [np.asarray(v) for v in saved.weights],
            }
    logs.stop()
    return outcomes


def compare(outcomes, tolerance):
    """Compares the first outcome with the others."""
    dense, *others = outcomes
    for other in others:
        assert other["layers"] == dense["layers"]
        # One example of 359 may be on the other side of a boundary.
        for key in ("losses", "metrics"):
            np.testing.assert_allclose(
                other[key], dense[key], rtol=tolerance, atol=max(tolerance, 3e-3), err_msg=key
            )
        assert [one is None for one in other["held out"]] == [
            one is None for one in dense["held out"]
        ]
        if dense["without ema"] is not None:
            assert other["without ema"] == pytest.approx(dense["without ema"], rel=tolerance)
        assert [one.shape for one in other["weights"]] == [one.shape for one in dense["weights"]]
        for got, expected in zip(other["weights"], dense["weights"], strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.ranks(2)
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
def test_the_training_and_the_model_are_those_of_the_whole_layer(name, tmp_path):
    heads = ["dense", "class_sharded"]
    first, second = run_on_ranks(
        train_each, 2, arguments=(tmp_path, [name], heads), timeout_seconds=400, fresh=True
    )
    compare([first[name, head] for head in heads], TOLERANCES.get(name, 1e-3))
    for head in heads:
        assert first[name, head]["digest"] == second[name, head]["digest"]


@pytest.mark.ranks(4)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_copies_of_the_parts_are_those_of_the_whole_layer(tmp_path):
    name = "frozen trunk, lookahead, synchronised batch statistics"
    heads = ["dense", "{name: class_sharded, parts: 2}"]
    sharded_first = list(reversed(heads))
    results = run_on_ranks(
        train_each,
        4,
        arguments=(tmp_path, [name], sharded_first),
        timeout_seconds=400,
        # The ranks of tests have started already; a run does it by itself.
        environment={"HOROVOD_DYNAMIC_PROCESS_SETS": "1"},
    )
    compare([results[0][name, head] for head in heads], 1e-3)
    assert len({one[name, heads[1]]["digest"] for one in results}) == 1


@pytest.mark.ranks(2)
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_as_many_parts_draw_the_same_classes_on_any_number_of_ranks(tmp_path):
    name = "mixed, smoothed, weighted, accumulated, averaged"
    heads = ["dense", DRAWN]
    by_size = [
        run_on_ranks(
            train_each,
            size,
            arguments=(tmp_path / str(size), [name], heads, FEW_IMAGES),
            fresh=True,
        )[0]
        for size in (1, 2)
    ]
    compare([one[name, DRAWN] for one in by_size], 1e-3)
    # The loss is that of the drawn classes, which is smaller.
    whole, drawn = (by_size[0][name, head]["losses"][0][0] for head in heads)
    assert drawn < whole - 0.1
