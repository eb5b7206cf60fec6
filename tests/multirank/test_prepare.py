"""Record files are the same whatever the number of ranks, and after a kill."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from hvd_imgcls.data.decoding.decode import decode_whole
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.order.splits import SPLITS
from hvd_imgcls.data.sources.records.reading import Records
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.workflows.prepare import prepare
from tests.support.folders import open_folder
from tests.support.program import running
from tests.unit.data.images import write_class_folders, write_image

COMMAND = [sys.executable, "-m", "hvd_imgcls", "prepare"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_class_folders(root, {"a cat": 13, "dög": 12})
    write_image(root / "dög" / "large.png", 99, (60, 90))
    return root


def prepare_on(size, folder, destination, *options):
    words = [*COMMAND, str(folder), str(destination), "--examples-per-block", "4", *options]
    with running(words, size=size, cwd=destination.parent) as program:
        assert program.wait(120) == 0, program.output
        return program.output


def contents_of(path):
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    destination = tmp_path_factory.mktemp("prepared") / "records"
    prepare_on(1, folder, destination)
    return destination


def test_records_hold_every_image_once_with_its_label(folder, prepared):
    source, records = open_folder(folder), Records(prepared)
    assert records.class_names == source.class_names == ("a cat", "dög")
    for split in SPLITS:
        wanted = {
            Path(source.name_of(split, e)).read_bytes(): int(label)
            for e, label in enumerate(source.labels(split))
        }
        examples = np.arange(records.num_examples(split))
        found = zip(records.read(split, examples), records.labels(split).tolist(), strict=True)
        assert len(examples) == len(wanted)
        assert dict(found) == wanted


def test_records_are_tfrecord_files_of_the_usual_keys(prepared):
    records = Records(prepared)
    rows = pq.read_table(prepared / "train.parquet").to_pylist()
    serialized = [
        item.numpy()
        for file in sorted(prepared.glob("train-*.tfrecord"))
        for item in tf.data.TFRecordDataset(str(file))
    ]
    assert len(serialized) == len(rows) == records.num_examples("train")
    for number, (item, row) in enumerate(zip(serialized, rows, strict=True)):
        features = tf.train.Example.FromString(item).features.feature
        (content,) = features["image/encoded"].bytes_list.value
        assert content == records.read("train", np.array([number]))[0]
        assert list(tf.io.decode_image(content).shape[:2]) == [row["height"], row["width"]]
        assert features["image/class/label"].int64_list.value[:] == [row["label"]]


@pytest.mark.ranks(2)
def test_two_ranks_write_the_same_bytes(folder, prepared, tmp_path):
    prepare_on(2, folder, tmp_path / "records")
    assert contents_of(tmp_path / "records") == contents_of(prepared)


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_a_killed_preparation_continues_on_another_number_of_ranks(folder, prepared, tmp_path):
    destination = tmp_path / "records"
    words = [sys.executable, "-c", STOP_AFTER_TWO, str(folder), str(destination)]
    with running(words, size=1, cwd=tmp_path) as program:
        assert program.wait(120) != 0
    assert not (destination / "dataset.json").exists()
    written = {file: file.stat().st_mtime_ns for file in destination.glob("*.tfrecord")}
    assert len(written) == 2
    output = prepare_on(2, folder, destination)
    assert "resuming: 1 of 4 files exist" in output
    assert contents_of(destination) == contents_of(prepared)
    assert {file: file.stat().st_mtime_ns for file in written} == written


STOP_AFTER_TWO = """
import os, sys, hvd_imgcls.workflows.prepare as prepare
from hvd_imgcls.cli import run
plain, count = prepare.write_block, 0
def write_block(*arguments):
    global count
    plain(*arguments)
    count += 1
    if count == 2:
        os.kill(os.getpid(), 9)
prepare.write_block = write_block
sys.argv = ["hvd-imgcls", "prepare", *sys.argv[1:], "--examples-per-block", "4"]
run()
"""


@pytest.mark.slow
def test_a_second_preparation_of_the_same_has_nothing_to_do(folder, prepared):
    before = contents_of(prepared)
    began = time.time()
    assert "already holds these images" in prepare_on(1, folder, prepared)
    assert contents_of(prepared) == before
    assert max(file.stat().st_mtime for file in prepared.iterdir()) < began


@pytest.mark.slow
def test_larger_images_are_made_smaller(folder, tmp_path):
    prepare_on(1, folder, tmp_path / "records", "--max-side", "30")
    records = Records(tmp_path / "records")
    manifest = json.loads((tmp_path / "records" / "dataset.json").read_text())
    assert manifest["encoding"] == {"max_side": 30, "quality": 95, "is_raw": False}
    sizes = set()
    for split in SPLITS:
        for content in records.read(split, np.arange(records.num_examples(split))):
            sizes.add(tuple(tf.io.decode_image(content).shape))
    assert sizes == {(22, 30, 3), (20, 30, 3)}


def test_raw_images_have_the_pixels_of_their_files(folder, tmp_path):
    prepare_on(1, folder, tmp_path / "records", "--raw")
    records = Records(tmp_path / "records")
    for example, content in enumerate(records.read("train", np.arange(6))):
        file = (folder / records.id_of("train", example)).read_bytes()
        assert content[:2] == b"BM"
        np.testing.assert_array_equal(
            tf.io.decode_image(content, channels=3), decode_whole(file, DecodingOptions())
        )


def test_a_folder_with_something_else_is_refused(folder, prepared, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="expected an empty folder"):
        prepare(open_folder(folder), tmp_path)
    with pytest.raises(ConfigError, match="the same images and options"):
        prepare(open_folder(folder), prepared, examples_per_block=5)


def test_an_image_that_cannot_be_decoded_is_named(folder, tmp_path):
    write_class_folders(tmp_path / "images", {"a": 2, "b": 2})
    bad = tmp_path / "images" / "b" / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"{bad}: cannot be read as an image"):
        prepare(open_folder(tmp_path / "images"), tmp_path / "records")


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_missing_or_short_file_is_named_before_anything_is_read(prepared, tmp_path, damage):
    for name, content in contents_of(prepared).items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "train-00002.tfrecord"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{path}: .*copy it"):
        Records(tmp_path)
