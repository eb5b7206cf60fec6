"""Rows of pieces: right for good and bad images, and nothing is done twice."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.data.bad_examples import unreadable
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.workflows.predicting.job import Job
from hvd_imgcls.workflows.predicting.rows import pieces_dataset, predict_pieces
from hvd_imgcls.workflows.predicting.work_queue import RootWorker, WorkQueue
from tests.unit.data.images import write_image

PIPELINE = """
data: {source: {name: image_folder, path: gone}, image_size: 4}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""
NUM_IMAGES, BLOCK = 23, 4


@pytest.fixture(scope="module")
def config():
    return parse_config(PIPELINE, [], origin="x.yaml")


@pytest.fixture
def source(tmp_path):
    files = [tmp_path / f"{number:02}.png" for number in range(NUM_IMAGES)]
    for number, file in enumerate(files):
        write_image(file, number, (8, 8))
    labels = {"held_out": np.zeros(NUM_IMAGES, np.int64), "train": np.zeros(0, np.int64)}
    images = {"held_out": [str(file) for file in files], "train": []}
    return FileSource(tmp_path, ("a", "b"), images, labels, [])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential(layers)


def rows_of(config, source, model, tmp_path):
    """All rows, in order, taken by one worker."""
    kept = {}
    pieces = WorkQueue(
        -(-NUM_IMAGES // BLOCK), (), lambda piece, _, rows: kept.update({piece: rows})
    )
    worker = RootWorker(pieces)
    job = Job(
        config=config,
        model_path=tmp_path / "model.keras",
        class_names=("a", "b"),
        top_k=1,
        out_path=tmp_path / "out.csv",
        piece_size=BLOCK,
    )
    for piece, rows in predict_pieces(job, model, source, (8, 8, 3), worker, num_threads=1):
        worker.finish(piece, rows)
    return [row for piece in sorted(kept) for row in kept[piece]]


def test_nobody_asks_why_good_images_cannot_be_read(config, source, model, tmp_path, monkeypatch):
    monkeypatch.setattr(unreadable, "_make_probe", lambda *_: pytest.fail("asked"))
    rows = rows_of(config, source, model, tmp_path)
    assert len(rows) == NUM_IMAGES
    for classes, probabilities in rows:
        assert classes in ([0], [1])
        assert 0.5 <= probabilities[0] <= 1


def test_bad_images_are_explained_by_what_was_made_once(
    config, source, model, tmp_path, monkeypatch
):
    expected = rows_of(config, source, model, tmp_path)
    bad = 2, 3, 11, 22
    for number in bad:
        (tmp_path / f"{number:02}.png").write_bytes(b"no image")
    made, make = [], unreadable._make_probe
    monkeypatch.setattr(
        unreadable, "_make_probe", lambda *arguments: made.append(1) or make(*arguments)
    )
    rows = rows_of(config, source, model, tmp_path)
    assert len(made) == 1
    for number, (row, good) in enumerate(zip(rows, expected, strict=True)):
        assert isinstance(row, str) if number in bad else row == good


def test_the_end_does_not_wait_for_a_thread_that_tunes(config, source):
    """A prediction took 42 s instead of 24 s: see `dataset_options`."""
    dataset = pieces_dataset(
        lambda: iter(range(2)), config, source, (8, 8, 3), piece_size=BLOCK, num_threads=1
    )
    assert dataset.options().autotune.enabled is False
