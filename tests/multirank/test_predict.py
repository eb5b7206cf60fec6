"""Predictions have the same bytes on any number of ranks, and go on where they were killed."""

import json
import re
import time

import keras
import numpy as np
import pytest

from tests.support.program import hvd_imgcls, running
from tests.unit.data.images import write_class_folders

PIPELINE = """
data: {source: {name: digits}}  # of another size: the model says what it takes
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, two of them bad, a model, and the classes."""
    folder = tmp_path_factory.mktemp("predict")
    write_class_folders(folder / "images", {"cat": 30, "dog": 31})
    (folder / "images" / "cat" / "007.jpg").write_bytes(b"")
    (folder / "images" / "dog" / "030.jpg").write_bytes(b"no image")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=3),
            layers.Flatten(),
            layers.Dense(3),
        ]
    ).save(folder / "model.keras")
    (folder / "classes.txt").write_text("cat\ndog\nnewt\n")
    (folder / "pipeline.yaml").write_text(PIPELINE)
    return folder


def words(*more, out):
    return hvd_imgcls(
        "predict",
        "model.keras",
        *more,
        "--pipeline",
        "pipeline.yaml",
        "--classes",
        "classes.txt",
        "--piece-size",
        "4",
        "--out",
        str(out),
    )


@pytest.fixture(scope="module")
def alone(folder):
    with running(words("images", out="alone.jsonl"), size=1, cwd=folder) as program:
        assert program.wait(120) == 0, program.output
    assert "61 images, 2 of them unreadable" in program.output
    return (folder / "alone.jsonl").read_bytes()


@pytest.mark.ranks(1)
def test_rows_are_in_the_order_of_the_images_and_bad_ones_say_why(alone, folder):
    rows = [json.loads(line) for line in alone.decode().splitlines()]
    assert len(rows) == 61
    assert [row["image"] for row in rows] == sorted(row["image"] for row in rows)
    bad = {row["image"]: row["error"] for row in rows if row["error"]}
    assert bad["images/cat/007.jpg"] == "empty file"
    assert set(bad) == {"images/cat/007.jpg", "images/dog/030.jpg"}
    for row in rows:
        probabilities = [one["probability"] for one in row["predictions"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert row["error"] or np.isclose(sum(probabilities), 1)
    assert not list(folder.glob(".*"))


@pytest.mark.ranks(3)
@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_ranks_writes_the_same_bytes(alone, folder, size):
    out = f"by-{size}.jsonl"
    with running(words("images", out=out), size=size, cwd=folder) as program:
        assert program.wait(120) == 0, program.output
    assert (folder / out).read_bytes() == alone
    counts = re.search(r"images by rank: (.*)", program.output)[1]
    # A rank that starts late may get none.
    assert sum(map(int, re.findall(r": (\d+)", counts))) == 61


@pytest.mark.ranks(2)
def test_a_model_that_holds_code_is_refused_once(folder):
    layers = keras.layers
    lambda_layer = layers.Lambda(lambda images: images / 255.0)
    keras.Sequential(
        [keras.Input((12, 12, 3)), lambda_layer, layers.Flatten(), layers.Dense(3)]
    ).save(folder / "lambda.keras")
    command = [
        word if word != "model.keras" else "lambda.keras" for word in words("images", out="x.csv")
    ]
    with running(command, size=2, cwd=folder) as program:
        assert program.wait(120) == 4, program.output
    assert program.output.count("add --trust-model") == 1, program.output


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_a_prediction_that_was_killed_goes_on_and_ends_the_same(alone, folder):
    listed = folder / "list.txt"
    # Long enough to be killed in the middle: the same images over and over.
    names = [json.loads(line)["image"] for line in alone.decode().splitlines()]
    listed.write_text("\n".join(names * 60))
    progress = folder / ".killed.jsonl.progress"
    command = words("--list", "list.txt", out="killed.jsonl")
    with running(command, size=2, cwd=folder) as program:
        deadline = time.monotonic() + 120
        while not (progress.exists() and len(progress.read_bytes().splitlines()) > 20):
            assert program.process.poll() is None, program.output
            assert time.monotonic() < deadline, program.output
            time.sleep(0.02)
        program.end()
    assert not (folder / "killed.jsonl").exists()
    with running(command, size=2, cwd=folder) as program:
        assert program.wait(120) == 0, program.output
    assert "images are already predicted" in program.output
    assert not progress.exists()
    expected = [json.loads(line) for line in alone.decode().splitlines()]
    rows = [json.loads(line) for line in (folder / "killed.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == names * 60
    assert [bool(row["error"]) for row in rows] == [bool(row["error"]) for row in expected] * 60
    for row, one in zip(rows, expected * 60, strict=True):
        actual = [p["probability"] for p in row["predictions"]]
        np.testing.assert_allclose(
            actual, [p["probability"] for p in one["predictions"]], rtol=1e-5
        )
