"""Groups I to III: what is in a file. `check-data`, training and quarantine agree on all."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.decoding.decode import decode_whole, decode_window
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.windows import whole_window
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import DataError
from hvd_imgcls.workflows.preparing.inspection import inspect_file
from hvd_imgcls.workflows.preparing.re_encoding import Encoding, encode
from tests.unit.data.bad_inputs import jpeg, other_formats, png
from tests.unit.data.bad_inputs.reading import problems_in_training

GOOD = {**jpeg.GOOD, **png.GOOD, **other_formats.GOOD}
BAD = {**jpeg.BAD, **png.BAD, **other_formats.BAD}
CASES = [*GOOD.items(), *BAD.items()]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Returns path, what training says and whether quarantine leaves it out, by name of case."""
    root = tmp_path_factory.mktemp("formats")
    for folder in ("train/a", "held_out/a"):
        (root / folder).mkdir(parents=True)
    (root / "held_out/a/1.jpg").write_bytes(jpeg.JPEG)
    for number, (_, case) in enumerate(CASES):
        # Suffixes say nothing.
        (root / f"train/a/{number:03}.jpg").write_bytes(case.content)
    source = open_image_folder(
        ImageFolderSource(
            name="image_folder", path=str(root), train_folder="train", held_out_folder="held_out"
        )
    )
    reasons, left_out = problems_in_training(source)
    paths = [source.path_of("train", example) for example in range(len(CASES))]
    return {
        name: outcome for (name, _), *outcome in zip(CASES, paths, reasons, left_out, strict=True)
    }


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_read(seen, name):
    case, (path, reason, is_left_out) = GOOD[name], seen[name]
    facts = inspect_file(path)
    assert facts.problem is None
    assert (facts.format, facts.height, facts.width) == (case.kind, *case.size)
    assert (facts.remarks, facts.num_bytes) == (case.remark, len(case.content))
    assert reason is None
    assert not is_left_out


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_a_reason(seen, name):
    case, (path, reason, is_left_out) = BAD[name], seen[name]
    assert case.check in str(inspect_file(path).problem)
    assert (case.train or case.check) in str(reason)
    assert is_left_out


@pytest.mark.parametrize("name", BAD)
def test_prepare_refuses_a_bad_file(name):
    with pytest.raises(DataError, match=r"^x.jpg: cannot be read as an image \("):
        encode(BAD[name].content, "x.jpg", Encoding())


def test_prepare_refuses_more_pixels_than_allowed():
    with pytest.raises(DataError, match="32 x 24 pixels, more than the 700 allowed"):
        encode(jpeg.JPEG, "x.jpg", Encoding(max_pixels=700))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_read_as_grey(name):
    contents = tf.constant(GOOD[name].content)

    def decode(num_channels):
        options = DecodingOptions(num_channels=num_channels)
        return tf.cast(decode_window(contents, whole_window, 8, options), tf.float32)

    grey = tf.tensordot(decode(3), [[0.299], [0.587], [0.114]], axes=1)
    # JPEG stores the brightness, and colours at half the resolution.
    assert np.abs(decode(1) - grey).mean() < 2


def test_a_gif_that_ends_anywhere_is_an_error():
    contents = other_formats.GOOD["gif: animated"].content
    for length in range(0, len(contents) // 3, 7):
        with pytest.raises(DataError, match=r"damaged|truncated|empty|index"):
            decode_whole(tf.constant(contents[:length]), DecodingOptions())
