"""An exported model takes encoded images and gives the probabilities of the model."""

import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls import logs
from hvd_imgcls.config import parse_config
from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder
from hvd_imgcls.errors import CheckpointError, ConfigError, DataError, SetupError
from hvd_imgcls.run_directory.classes import class_names_of
from hvd_imgcls.workflows.export import export_model
from hvd_imgcls.workflows.exporting import formats
from hvd_imgcls.workflows.exporting.job import ExportJob
from hvd_imgcls.workflows.predict import predict_files
from hvd_imgcls.workflows.predicting.job import Job
from tests.unit.data.decoding import bmp_files, orientations, variants
from tests.unit.data.images import encoded

PIPELINE = """
data: {source: {name: image_folder, path: gone}, image_size: 12}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
evaluation: {views: flip}
"""
NAMES = ("cat", "dog", "newt")


@pytest.fixture(scope="module", autouse=True)
def _log():
    yield
    logs.stop()


@pytest.fixture(scope="module")
def config():
    return parse_config(PIPELINE, [], origin="x.yaml")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=3, activation="gelu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    ).save(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """100 images of several sizes and kinds."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(100):
        suffix = (".jpg", ".png")[number % 2]
        content = encoded(suffix, number, (20 + number % 7, 30 - number % 5))
        (folder / f"{number:03}{suffix}").write_bytes(content)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def exported(config, model_path, files, tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "to"
    job = ExportJob(config=config, model_path=model_path, class_names=NAMES, directory=directory)
    record = export_model(job, {str(file): file.read_bytes() for file in files})
    return directory, record


def test_probabilities_are_those_of_predict_on_100_images(
    exported, config, model_path, files, tmp_path, monkeypatch
):
    directory, record = exported
    assert (record["num_images"], record["is_synthetic"]) == (100, False)
    assert set(record["largest_difference"]) == {
        "saved_model (serving_default)",
        "saved_model (images)",
    }
    assert max(record["largest_difference"].values()) < 1e-6
    monkeypatch.setattr("hvd_imgcls.distributed.devices.configure", lambda **_: None)
    out = tmp_path / "out.jsonl"
    job = Job(config=config, model_path=model_path, class_names=NAMES, top_k=3, out_path=out)
    predict_files(job, [str(file) for file in files], ())
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    signature = tf.saved_model.load(str(directory / "saved_model")).signatures["serving_default"]
    results = signature(image_bytes=tf.constant([file.read_bytes() for file in files]))
    for row, probabilities, name in zip(
        rows, results["probabilities"].numpy(), results["class"].numpy(), strict=True
    ):
        ours = {one["class"]: one["probability"] for one in row["predictions"]}
        np.testing.assert_allclose([ours[n] for n in NAMES], probabilities, atol=1e-6)
        assert row["predictions"][0]["class"] == name.decode()


PLAIN_TENSORFLOW = """
import json, pathlib, sys
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
names = signatures["class_names"]()["class_names"].numpy()
found = {"names": [name.decode() for name in names]}
for path in map(pathlib.Path, sys.argv[2:]):
    try:
        results = signatures["serving_default"](image_bytes=tf.constant([path.read_bytes()]))
        found[path.name] = results["probabilities"].numpy()[0].tolist()
    except tf.errors.InvalidArgumentError as error:
        found[path.name] = error.message
assert not [name for name in sys.modules if name.startswith("hvd_imgcls")]
print(json.dumps(found))
"""


def test_it_runs_in_plain_tensorflow(exported, config, tmp_path):
    """In a new process: pictures however they are stored, in every format that it promises."""
    directory, _ = exported
    contents = {f"{number}.jpg": orientations.stored(number) for number in range(1, 9)}
    contents |= {
        f"{name}.file": variants.VARIANTS[name]
        for name in ("PNG: RGB", "WebP: lossless", "JPEG: YCCK", "JPEG: grey", "GIF: one image")
    }
    contents["BMP.file"] = bmp_files.FILES["24 bits"][0]
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    words = [sys.executable, "-c", PLAIN_TENSORFLOW, directory / "saved_model", *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("names") == list(NAMES)
    assert "an exported model reads JPEG" in found.pop("GIF: one image.file")
    for number in range(2, 9):
        np.testing.assert_allclose(found[f"{number}.jpg"], found["1.jpg"], atol=0.01)
    decode = make_evaluation_decoder(config, (12, 12, 3))
    nothing = tf.constant(0, tf.int64)
    images = tf.stack([decode(tf.constant(contents[name]), nothing, nothing) for name in found])
    of_images = tf.saved_model.load(str(directory / "saved_model")).signatures["images"]
    expected = of_images(images=images)["probabilities"].numpy()
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)


def test_it_has_the_class_names_and_a_plain_model(exported):
    directory, _ = exported
    assert (directory / "classes.txt").read_text() == "cat\ndog\nnewt\n"
    assert class_names_of(directory / "model.keras") == NAMES
    assert class_names_of(directory / "saved_model") == NAMES
    assert keras.models.load_model(directory / "model.keras").output_shape == (None, 3)


@pytest.mark.slow
def test_names_with_line_breaks_stay_whole(config, model_path, tmp_path):
    names = ("black\ncat", "a\u2028b", "c, d")
    directory = tmp_path / "to"
    export_model(
        ExportJob(config=config, model_path=model_path, class_names=names, directory=directory)
    )
    assert len((directory / "classes.txt").read_text().splitlines()) == 3
    assert class_names_of(directory / "model.keras") == names


def test_without_images_it_is_checked_with_made_up_ones(config, model_path, tmp_path):
    job = ExportJob(
        config=config, model_path=model_path, class_names=NAMES, directory=tmp_path / "to"
    )
    record = export_model(job)
    assert (record["num_images"], record["is_synthetic"]) == (100, True)
    with pytest.raises(ConfigError, match="expected an empty or new directory"):
        export_model(job)


def test_a_model_of_other_classes_is_refused(config, model_path, tmp_path):
    job = ExportJob(
        config=config, model_path=model_path, class_names=("a", "b"), directory=tmp_path / "to"
    )
    with pytest.raises(CheckpointError, match="but the data require"):
        export_model(job)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_tflite_and_onnx_give_the_same(config, files, tmp_path, policy):
    """They know no bfloat16: they compute in float32. ONNX knows no GELU either."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="gelu", dtype=policy),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    model.save(tmp_path / "model.keras")
    job = ExportJob(
        config=config,
        model_path=tmp_path / "model.keras",
        class_names=NAMES,
        directory=tmp_path / "to",
        formats=("litert", "onnx"),
    )
    record = export_model(job, {str(file): file.read_bytes() for file in files[:5]})
    assert record["precision"] == policy
    for name in ("model.tflite", "model.onnx"):
        assert record["largest_difference"][name] < (1e-6 if policy == "float32" else 2e-2)
        assert (tmp_path / "to" / name).stat().st_size > 1000


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_a_file_that_cannot_be_run_is_named(tmp_path, name):
    path = tmp_path / "model"
    path.write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=f"omit --format {name}") as refusal:
        formats.logits_of(name, path, np.zeros((1, 2, 2, 3), np.uint8))
    assert str(path) in str(refusal.value)


def test_a_missing_package_is_named_before_anything_is_written(
    config, model_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    job = ExportJob(
        config=config,
        model_path=model_path,
        class_names=NAMES,
        directory=tmp_path / "to",
        formats=("onnx",),
    )
    with pytest.raises(SetupError, match="pip install tf2onnx onnx onnxruntime"):
        export_model(job)
    assert not (tmp_path / "to").exists()


def test_an_image_that_cannot_be_read_is_named(config, model_path, tmp_path):
    job = ExportJob(
        config=config, model_path=model_path, class_names=NAMES, directory=tmp_path / "to"
    )
    with pytest.raises(DataError, match=r"^bad\.jpg: "):
        export_model(job, {"bad.jpg": b"no image"})
    assert not (tmp_path / "to").exists()
