"""The whole story in one process; tests/multirank tells it on several ranks."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
import yaml

from hvd_imgcls import cli, distributed, logs
from hvd_imgcls.config import load_config
from hvd_imgcls.data import open_source
from hvd_imgcls.errors import CheckpointError, ConfigError, DataError
from hvd_imgcls.run_directory.paths import EvaluationFiles
from hvd_imgcls.workflows.evaluate import evaluate_file
from hvd_imgcls.workflows.train import train
from tests.support.events import read_events
from tests.unit.data.images import write_class_folders

PIPELINE = Path(__file__).parents[2] / "pipelines" / "digits_cnn.yaml"
SHORT = ("--train.num_epochs=null", "--train.num_steps=30", "--schedule.warmup_epochs=0.5")


@pytest.fixture(scope="module", autouse=True)
def _process_of_several_runs():
    # Thread counts can be set once per process, before TensorFlow runs anything.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed.devices, "configure", lambda **_: None)
        yield
    logs.stop()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return train(load_config(PIPELINE, [*SHORT, f"--run_dir={directory}"]))


def test_train_writes_the_run_directory(result):
    names = sorted(path.name for path in result.run_dir.path.iterdir())
    assert names == [
        ".lock",
        "checkpoints",
        "classes.json",
        "config.yaml",
        "curves.json",
        "evaluation.json",
        "first_batch.png",
        "launches.jsonl",
        "log.txt",
        "metrics.jsonl",
        "model.keras",
        "nodes.jsonl",
        "pictures.json",
        "plan.json",
        "predictions.parquet",
        "progress.json",
        "report.html",
        "status.json",
        "summary.json",
        "tensorboard",
    ]


def test_train_learns(result):
    assert result.metrics["top1"] > 0.4
    entries = [json.loads(line) for line in result.run_dir.metrics.read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [22, 30]
    assert entries[1]["loss"] < entries[0]["loss"]


def test_tensorboard_has_the_curves_and_pictures_of_the_run(result):
    numbers, pictures = read_events(result.run_dir.tensorboard)
    entries = [json.loads(line) for line in result.run_dir.metrics.read_text().splitlines()]
    for name in ("loss", "accuracy", "learning_rate", "images_per_second", "data_wait_share"):
        curve = numbers[f"by epoch/{name}"]
        assert curve == [(entry["step"], pytest.approx(entry[name])) for entry in entries]
    assert sorted(pictures) == [
        "evaluation/confusion matrix",
        "images/first batch",
        "images/held out",
    ]
    for [(_, content)] in pictures.values():
        assert PIL.Image.open(io.BytesIO(content)).width > 200


def test_summary_of_the_run_agrees_with_its_other_files(result):
    summary = json.loads(result.run_dir.summary.read_text())
    assert summary["top1"] == result.metrics["top1"]
    assert (summary["num_steps"], summary["num_skipped_steps"]) == (30, 0)
    seconds = summary["seconds"]
    assert seconds["training"] + seconds["evaluation"] < seconds["total"]
    assert 0 < summary["data_wait_share"] < 1
    assert (summary["slowest_rank"], summary["rank_wait_share"]) == (0, 0.0)


def test_quiet_train_without_tensorboard_says_its_result_alone(tmp_path, capsys):
    words = ["train", str(PIPELINE), "--quiet", "--run_dir", str(tmp_path / "run")]
    words += ["--logging.tensorboard", "false", "--train.num_epochs", "null"]
    assert cli.main([*words, "--train.num_steps", "2", "--schedule.warmup_epochs", "0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("held-out accuracy")
    assert said[-1] == f"results written to {tmp_path / 'run'}"
    assert not any("plan:" in line or "epoch" in line for line in said)
    assert "plan:" in (tmp_path / "run" / "log.txt").read_text()
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_config_of_the_run_is_the_one_it_was_started_with(result):
    again = load_config(result.run_dir.config)
    assert again == load_config(PIPELINE, [*SHORT, f"--run_dir={result.run_dir.path}"])
    # And any YAML reader agrees.
    assert yaml.safe_load(result.run_dir.config.read_text())["train"]["num_steps"] == 30


def test_log_of_the_run_holds_plan_and_outcome(result):
    text = result.run_dir.log.read_text()
    for said in ("64 per step = 1 rank x 64", "held-out accuracy", result.weights_digest):
        assert said in text


def test_saved_model_is_plain_keras_and_gives_the_same_answers(result):
    model = keras.saving.load_model(result.run_dir.model, safe_mode=True)
    assert type(model.optimizer) is keras.optimizers.SGD
    assert int(model.optimizer.iterations.numpy()) == 30
    assert model(np.zeros([1, 8, 8, 1], np.uint8)).shape == (1, 10)


def test_evaluate_of_the_saved_model_writes_the_same_bytes(result, tmp_path):
    config = load_config(result.run_dir.config)
    evaluate_file(config, result.run_dir.model, files=EvaluationFiles(tmp_path))
    assert (tmp_path / "evaluation.json").read_bytes() == result.run_dir.evaluation.read_bytes()


OWN_PARTS = (
    "--loss={name: focal}",
    "--optimizer={name: lars, trust_coefficient: 0.05}",
    "--schedule={name: polynomial, base_learning_rate: 1, power: 2, warmup_epochs: 0.5}",
    "--train.ema={decay: 0.9}",
    "--train.class_weights=balanced",
)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run whose loss, optimizer and schedule are ours, and whose model is an average."""
    directory = tmp_path_factory.mktemp("runs") / "averaged"
    config = load_config(PIPELINE, ["--train.num_epochs=4", *OWN_PARTS, f"--run_dir={directory}"])
    return train(config)


def test_ema_writes_both_models_and_both_evaluations(averaged):
    files, without = averaged.run_dir, averaged.metrics_without_ema
    assert json.loads(files.evaluation.read_text()) == averaged.metrics
    assert json.loads(files.evaluation_without_ema.read_text()) == without
    assert averaged.metrics["loss"] != without["loss"]
    assert min(averaged.metrics["top1"], without["top1"]) > 0.4
    model, raw = (keras.models.load_model(p) for p in (files.model, files.model_without_ema))
    differences = [
        np.abs(a - b).max() for a, b in zip(model.get_weights(), raw.get_weights(), strict=True)
    ]
    assert min(differences) > 1e-5


def test_evaluate_of_the_average_writes_the_same_bytes(averaged, tmp_path):
    files, config = averaged.run_dir, load_config(averaged.run_dir.config)
    for model, metrics in (
        (files.model, files.evaluation),
        (files.model_without_ema, files.evaluation_without_ema),
    ):
        evaluate_file(config, model, files=EvaluationFiles(tmp_path))
        assert (tmp_path / "evaluation.json").read_bytes() == metrics.read_bytes()


PLAIN_KERAS = """
import sys
sys.modules["hvd_imgcls"] = sys.modules["horovod"] = None  # importing them would fail
import keras
print(keras.models.load_model(sys.argv[1]).output_shape)
"""


def test_model_trained_with_our_own_parts_loads_in_plain_keras(averaged):
    with zipfile.ZipFile(averaged.run_dir.model) as archive:
        assert b"hvd_imgcls" not in archive.read("config.json")
    words = [sys.executable, "-c", PLAIN_KERAS, str(averaged.run_dir.model)]
    finished = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert "(None, 10)" in finished.stdout, finished.stderr


def test_evaluate_without_a_file_to_write_prints_the_metrics(result, capsys):
    config = load_config(result.run_dir.config)
    metrics = evaluate_file(config, result.run_dir.model)
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :]) == metrics


def test_train_into_the_same_directory_is_refused(result):
    with pytest.raises(ConfigError, match="choose another --run_dir"):
        train(load_config(result.run_dir.config))


def own_model(activation=None):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation=activation),
        ]
    )


def test_train_of_a_given_model_trains_that_one_and_says_so(tmp_path):
    model = own_model()
    config = load_config(PIPELINE, [*SHORT, f"--run_dir={tmp_path / 'run'}"])
    result = train(config, model=model)
    assert int(model.optimizer.iterations.numpy()) == 30
    assert result.metrics["top1"] > 0.4
    recorded = load_config(result.run_dir.config)
    assert recorded.model.name == "given"
    again = evaluate_file(recorded, result.run_dir.model, files=EvaluationFiles(tmp_path))
    assert again["num_correct"] == result.metrics["num_correct"]


def test_train_of_a_given_model_that_ends_in_softmax_is_refused(tmp_path):
    config = load_config(PIPELINE, [*SHORT, f"--run_dir={tmp_path / 'run'}"])
    with pytest.raises(ConfigError, match="ends in softmax"):
        train(config, model=own_model("softmax"))


def test_train_of_a_pipeline_for_a_given_model_needs_one(tmp_path):
    config = load_config(PIPELINE, ["--model={name: given}", f"--run_dir={tmp_path / 'run'}"])
    with pytest.raises(ConfigError, match=r"model\.name: got 'given', expected a program"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_train_of_a_model_from_a_file_goes_on_from_its_weights(result, tmp_path):
    model = f"{{name: keras_file, path: '{result.run_dir.model}'}}"
    words = [*SHORT, f"--model={model}", "--schedule.base_learning_rate=1e-9"]
    again = train(load_config(PIPELINE, [*words, f"--run_dir={tmp_path / 'run'}"]))
    assert again.metrics["num_correct"] == result.metrics["num_correct"]


def normalized_model():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.BatchNormalization(name="normalized"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


@pytest.mark.parametrize("length", [SHORT, ("--train.num_epochs=3",)], ids=str)
def test_recalibration_gives_the_mean_of_so_many_batches_after_the_last(tmp_path, length):
    words = [*length, "--train.recalibration_batches=20", f"--run_dir={tmp_path / 'run'}"]
    result = train(load_config(PIPELINE, words), model=normalized_model())
    images = open_source(load_config(PIPELINE).data.source).images("train") / 255
    (layer,) = [
        layer
        for layer in keras.models.load_model(result.run_dir.model).layers
        if layer.name == "normalized"
    ]
    # The moving mean would be a quarter of it: it begins at 0 and goes by 1 % a step.
    np.testing.assert_allclose(layer.moving_mean, images.mean(), rtol=0.1)
    np.testing.assert_allclose(layer.moving_variance, images.var(), rtol=0.1)


def test_a_held_out_image_that_cannot_be_read_does_not_cost_the_model(tmp_path):
    for split, count in (("train", 8), ("test", 3)):
        write_class_folders(tmp_path / split, {"cat": count, "dog": count}, ".png")
    (tmp_path / "test" / "dog" / "001.png").write_bytes(b"not an image")
    source = "{name: image_folder, path: %s, train_folder: train, held_out_folder: test}"
    words = [
        f"--data.source={source % tmp_path}",
        "--data.image_size=8",
        "--train.global_batch_size=8",
        "--train.num_epochs=1",
        "--schedule.warmup_epochs=0",
        f"--run_dir={tmp_path / 'run'}",
    ]
    with pytest.raises(DataError, match=r"001\.png"):
        train(load_config(PIPELINE, words))
    assert keras.models.load_model(tmp_path / "run" / "model.keras").output_shape == (None, 2)
    assert not (tmp_path / "run" / "evaluation.json").exists()


def test_evaluate_of_a_model_for_other_images_says_so(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(10)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(CheckpointError, match="but the data require"):
        evaluate_file(load_config(PIPELINE), tmp_path / "other.keras")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 cut short"])
def test_evaluate_of_a_damaged_file_says_so(tmp_path, content):
    (tmp_path / "bad.keras").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.keras"):
        evaluate_file(load_config(PIPELINE), tmp_path / "bad.keras")


def test_evaluate_does_not_execute_what_is_in_a_file(tmp_path):
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    logits = keras.layers.Lambda(lambda values: values[:, :10])(flat)
    keras.Model(inputs, logits).save(tmp_path / "lambda.keras")
    with pytest.raises(CheckpointError, match="contains code that would be run"):
        evaluate_file(load_config(PIPELINE), tmp_path / "lambda.keras")


@pytest.mark.parametrize("recalibration_batches", [0, 2])
def test_steps_too_few_for_the_moving_statistics_are_told(tmp_path, recalibration_batches):
    """Found with a MobileNetV2 that learnt and was evaluated at the rate of chance."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(8),
            layers.BatchNormalization(momentum=0.999),
            layers.Dense(10),
        ]
    )
    options = [
        *SHORT,
        "--evaluation.views=one",
        f"--train.recalibration_batches={recalibration_batches}",
        f"--run_dir={tmp_path / 'run'}",
    ]
    train(load_config(PIPELINE, options), model=model)
    warning = "30 steps are few for this model's batch normalisation"
    log = (tmp_path / "run" / "log.txt").read_text()
    assert (warning in log) == (recalibration_batches == 0)
    assert recalibration_batches or "97 % initial values" in log
