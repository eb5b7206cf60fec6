"""ImageNet weights by name on several ranks."""

import json
import logging
import os
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.launch import run_on_ranks
from tests.support.program import hvd_imgcls, running
from tests.support.published_weights import WeightsServer, write_published

SHAPE = (32, 32, 3)
NAME = "mobilenet_1_0_224_tf_no_top.h5"


def fetch_here(keras_home, url):
    """Returns what this rank logs or raises."""
    from keras.src.applications import mobilenet

    from hvd_imgcls import distributed
    from hvd_imgcls.config.models import KerasApplication
    from hvd_imgcls.errors import CheckpointError
    from hvd_imgcls.workflows.training.weights.download import fetch_weights

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("hvd_imgcls")
    level, address = logger.level, mobilenet.BASE_WEIGHT_PATH
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    mobilenet.BASE_WEIGHT_PATH = url
    os.environ["KERAS_HOME"] = str(keras_home)
    section = KerasApplication(
        name="keras_application", application="MobileNet", weights="imagenet"
    )
    try:
        fetch_weights(section, SHAPE, 5, distributed.start())
    except CheckpointError as error:
        return lines, f"{error}", error.is_of_all_ranks
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        mobilenet.BASE_WEIGHT_PATH = address
        del os.environ["KERAS_HOME"]
    return lines, None, None


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    server = WeightsServer(folder)
    yield server
    server.close()


@pytest.mark.ranks(2)
def test_one_rank_downloads_while_the_other_waits(server, tmp_path):
    content = b"weights" * 100_000
    (tmp_path / "served" / NAME).write_bytes(content)
    server.pause_seconds = 2
    arguments = (tmp_path / "keras", server.url)
    results = run_on_ranks(fetch_here, 2, arguments=arguments)
    assert server.requested == [NAME]
    assert (tmp_path / "keras" / "models" / NAME).read_bytes() == content
    for lines, error, _ in results:
        assert error is None
        assert re.match(rf"download: .*: {NAME}, (downloading, |waiting)", lines[0])
        assert lines[-1] == "download: complete on all hosts"
    run_on_ranks(fetch_here, 2, arguments=arguments)
    assert server.requested == [NAME]


@pytest.mark.ranks(2)
def test_failed_download_is_the_same_error_on_all_ranks(server, tmp_path):
    first, second = run_on_ranks(fetch_here, 2, arguments=(tmp_path / "keras", server.url))
    assert first[1:] == second[1:]
    assert "404" in first[1]
    assert f"copy it to {tmp_path / 'keras' / 'models' / NAME}" in first[1]
    assert first[2] is True


def pipeline(tmp_path):
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for number in range(16):
            pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""
data:
  source: {{name: image_folder, path: {tmp_path / "images"}, held_out_fraction: 0.25}}
  image_size: 32
model: {{name: keras_application, application: MobileNet, weights: imagenet}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.01}}
train: {{global_batch_size: 8, num_epochs: 1}}
run_dir: {tmp_path / "run"}
"""
    )
    return path


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_run_without_a_network_ends_with_one_error_and_leaves_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with running(hvd_imgcls("train", str(pipeline(tmp_path))), size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 4, program.output
        assert program.output.count("cannot be downloaded") == 1, program.output
        assert str(tmp_path / "keras" / "models" / NAME) in program.output
        assert "Traceback" not in program.output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_run_with_a_placed_file_trains_from_it(tmp_path, monkeypatch):
    import keras

    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True)
    model = keras.applications.MobileNet(weights=None, input_shape=SHAPE, include_top=False)
    write_published(model, folder / NAME)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with running(hvd_imgcls("train", str(pipeline(tmp_path))), size=2, cwd=tmp_path) as program:
        assert program.wait(240) == 0, program.output
        loaded = rf"{NAME}: \d+ of \d+ weights loaded; new: conv_preds/kernel, conv_preds/bias"
        assert re.search(loaded, program.output), program.output
        assert "model identical on all ranks: yes" in program.output
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["num_examples"] == 8
