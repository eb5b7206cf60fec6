"""Photographs that are far larger than the network needs are pointed out."""

from __future__ import annotations

import re

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.workflows.startup.large_images import note_on_large_files, note_on_large_images
from tests.support.folders import open_folder
from tests.unit.data.decoding.pictures import jpeg_of, photograph

PIPELINE = """
data: {source: {name: image_folder, path: gone}, image_size: 32}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""
CONFIG = parse_config(PIPELINE, origin="test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(5):
            contents = jpeg_of(photograph(512, 640, number), quality=95)
            (root / name / f"{number}.jpg").write_bytes(contents)
    return root


def test_the_note_has_the_command_and_what_it_saves(folder):
    note = note_on_large_images(open_folder(folder), CONFIG)
    assert note.startswith("8 of 8 training images looked at have a shorter side of at least 128")
    assert "`hvd-imgcls prepare SOURCE DEST --max-side 128`" in note
    megabytes, milliseconds = re.findall(r"([\d.]+) to ([\d.]+)", note)
    assert float(megabytes[1]) < float(megabytes[0]) / 5
    assert float(milliseconds[1]) < float(milliseconds[0])


def test_images_of_a_usual_size_are_not_pointed_out(folder):
    path = folder / "a" / "0.jpg"
    assert note_on_large_files([(path, 120)] * 5, 32, "images") is None
    assert note_on_large_files([(path, 512), (path, 30), (path, 30)], 32, "images") is None
    assert note_on_large_files([], 32, "images") is None


def test_what_cannot_be_decoded_is_left_to_reading(tmp_path):
    path = tmp_path / "no.jpg"
    path.write_bytes(b"\xff\xd8\xff no image")
    assert note_on_large_files([(path, 512)], 32, "images") is None
    assert note_on_large_files([(tmp_path / "gone.jpg", 512)], 32, "images") is None
