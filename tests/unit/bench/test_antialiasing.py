import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hvd_imgcls.bench.inputs import accuracy_arms, antialias_arms, antialiasing, memory_arms
from hvd_imgcls.bench.inputs.accuracy_arms import psnr
from hvd_imgcls.bench.inputs.pictures import read_pictures, write_pictures
from hvd_imgcls.bench.inputs.settings import Settings
from hvd_imgcls.bench.inputs.ways import BEFORE, DRAFT, FAST, STORED, UPRIGHT
from hvd_imgcls.bench.inputs.window_decoding import (
    OPTIONS,
    box_of,
    by_pillow,
    by_pillow_draft,
    our_decoding,
    window_of,
)
from hvd_imgcls.data.decoding import jpeg
from hvd_imgcls.errors import DataError

# The smallest whose central window is decoded at half of its size.
WIDTH = 991


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"), WIDTH, 2, data=None)


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    return image


def test_pictures_have_the_size_and_are_written_once(pictures):
    contents = read_pictures(pictures)
    assert [opened(content).size for content in contents] == [(WIDTH, 743)] * 2
    assert contents[0] != contents[1]
    assert write_pictures(pictures.parent, WIDTH, 2, data=None) == pictures
    assert read_pictures(pictures) == contents


def test_variants_are_progressive_or_have_exif_data(pictures, tmp_path):
    (plain,) = read_pictures(write_pictures(tmp_path, 80, 1, data=pictures))
    (progressive,) = read_pictures(
        write_pictures(tmp_path, 80, 1, data=pictures, variant="progressive")
    )
    (with_exif,) = read_pictures(write_pictures(tmp_path, 80, 1, data=pictures, variant="EXIF"))
    assert "progressive" not in opened(plain).info
    assert opened(progressive).info["progressive"]
    assert dict(opened(with_exif).getexif()) == {274: 1}
    assert np.array_equal(opened(with_exif), opened(plain))


def test_mosaics_are_made_of_photographs_and_those_of_500_pixels_are_the_photographs(
    pictures, tmp_path
):
    (mosaic,) = read_pictures(write_pictures(tmp_path, 600, 1, data=pictures))
    assert opened(mosaic).size == (600, 450)
    assert read_pictures(write_pictures(tmp_path, 500, 1, data=pictures)) == [
        read_pictures(pictures)[0]
    ]
    with pytest.raises(DataError, match="no JPEG files"):
        write_pictures(tmp_path, 300, 1, data=tmp_path / "empty")


def test_psnr():
    image = np.full([4, 4, 3], 100, np.uint8)
    assert psnr(image, image) == 100
    # 20 lg(255 / 1) and 20 lg(255 / 10)
    assert psnr(image, image + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(image, image - 10) == pytest.approx(28.1308, abs=1e-4)


@pytest.mark.parametrize("kind", ["centre", "random"])
def test_all_ways_decode_the_same_window(kind, pictures):
    content = read_pictures(pictures)[0]
    example = tf.constant(3, tf.int64)
    box = box_of((WIDTH, 743), 3, kind)
    first, extent = window_of(tf.constant([743, WIDTH]), example, kind)
    assert (box[1], box[0]) == tuple(first.numpy())
    assert (box[3] - box[1], box[2] - box[0]) == tuple(extent.numpy())
    reference = by_pillow(content, box)
    assert reference.shape == (224, 224, 3)
    found = {
        name: psnr(our_decoding(name, kind)(tf.constant(content), example).numpy(), reference)
        for name in (UPRIGHT, STORED)
    }
    assert found[UPRIGHT] == found[STORED] > 40
    # Synthetic photographs have little detail; a window elsewhere is at about 15 dB.
    before = our_decoding(BEFORE, kind)(tf.constant(content), example).numpy()
    assert 25 < psnr(before, reference) < found[UPRIGHT]
    assert psnr(by_pillow_draft(content, box), reference) > 25


def test_fast_transform_is_that_of_the_process(monkeypatch):
    monkeypatch.setattr(jpeg, "EXACT", jpeg.EXACT)
    our_decoding(FAST, "centre")
    assert jpeg.EXACT == ""
    assert OPTIONS[FAST] == OPTIONS[STORED]


@pytest.mark.parametrize("kind", [pytest.param("centre", marks=pytest.mark.slow), "random"])
def test_arms_take_images(kind, pictures):
    contents = read_pictures(pictures)
    for name in (BEFORE, UPRIGHT):
        antialias_arms.in_dataset(name, kind, contents, batch_size=2)(4)
    antialias_arms.in_pillow(kind, contents, batch_size=2)(4)


def test_peaks_are_above_the_memory_before():
    # More than malloc ever takes from memory that it keeps: 32 MiB.
    number = 40_000_000
    found = memory_arms.peaks(lambda: b"x" * number, 2)
    assert found == pytest.approx([number - 224 * 224 * 3] * 2, rel=0.02)


@pytest.mark.parametrize("name", [UPRIGHT, DRAFT])
def test_memory_of_every_window_is_measured(name, pictures, tmp_path):
    result = tmp_path / "result.json"
    memory_arms.main([name, "random", str(pictures), str(result)])
    assert len(json.loads(result.read_text())) == 2 * memory_arms.NUM_WINDOWS


@pytest.mark.slow
def test_row_f_reports_minimum_and_median_of_every_size(monkeypatch, tmp_path):
    def in_this_process(module, words, variables=None):
        assert (module, variables) == ("accuracy_arms", None)
        accuracy_arms.main([words[0], str(tmp_path / "result.json")])
        return json.loads((tmp_path / "result.json").read_text())

    monkeypatch.setattr(antialiasing, "_run", in_this_process)
    monkeypatch.setattr(antialiasing, "WIDTHS", (60, 300))
    monkeypatch.setattr(antialiasing, "NUM_SMALL", 2)
    results = antialiasing.accuracy(Settings(pairs=1), tmp_path)
    assert len(results) == 5
    values = results["f, 300 pixels, random windows"]["values"]
    assert set(values) == {STORED, BEFORE, DRAFT}
    assert all(value["minimum"] <= value["median"] for value in values.values())
    assert results["f, smallest PSNR with antialiasing"]["reached"]


def test_row_g_compares_every_way_with_before(monkeypatch, tmp_path):
    small = antialiasing.Case(width=500, number=1, images=1, batch_size=1, goal=1.25)
    monkeypatch.setattr(antialiasing, "CASES", (small,))
    monkeypatch.setattr(
        antialiasing,
        "take_turns",
        lambda module, arms, rounds: {
            name: {"wall": [1.0], "cpu": [1.0 + 0.1 * number]} for number, name in enumerate(arms)
        },
    )
    results = antialiasing.time(Settings(pairs=1), tmp_path)
    ours = results[f"g, 500 x 375, centre windows: {UPRIGHT} / {BEFORE}"]
    assert (ours["goal"], ours["reached"]) == ("at most 1.25", True)
    assert "reached" not in results[f"g, 500 x 375, random windows: {DRAFT} / {BEFORE}"]
    assert "g, 500 x 375, centre windows: cost of the accurate transform" in results


def test_row_h_judges_the_largest_window_of_baseline_files(monkeypatch, tmp_path):
    peaks = {BEFORE: [21e6, 3e6], UPRIGHT: [2e6, 13e6], DRAFT: [1e6, 6e6]}
    monkeypatch.setattr(antialiasing, "_run", lambda module, words, variables: peaks[words[0]])
    monkeypatch.setattr(antialiasing, "LARGE", 60)
    results = antialiasing.memory(Settings(pairs=1), tmp_path)
    baseline = results[f"h, 12 megapixels, centre windows: antialias / {BEFORE}"]
    assert baseline["bytes"] == {BEFORE: 21e6, UPRIGHT: 13e6, DRAFT: 6e6}
    assert baseline["reached"] is False
    progressive = f"h, 12 megapixels, progressive, random windows: antialias / {BEFORE}"
    assert "goal" not in results[progressive]
