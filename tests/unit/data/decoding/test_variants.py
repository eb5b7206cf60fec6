"""Every variant of every format has the pixels that Pillow gives."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hvd_imgcls.data.decoding.decode import decode_whole
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.errors import DataError
from tests.unit.data.decoding import bmp_files
from tests.unit.data.decoding.pictures import psnr
from tests.unit.data.decoding.variants import GREY_16, JPEG, OF_16_BITS, PICTURE, VARIANTS, saved

# Conversions from CMYK round differently.
ONE_LEVEL_OFF = ("JPEG: CMYK of Adobe", "JPEG: YCCK")


def decoded(content, **options):
    return decode_whole(tf.constant(content), DecodingOptions(**options)).numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_pixels_are_those_of_pillow(name):
    with Image.open(io.BytesIO(VARIANTS[name])) as image:
        expected = np.asarray(image.convert("RGB"))
    pixels = decoded(VARIANTS[name])
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= (name in ONE_LEVEL_OFF)


@pytest.mark.parametrize("kind", bmp_files.FILES)
def test_a_bmp_has_the_pixels_that_were_written(kind):
    content, expected = bmp_files.FILES[kind]
    assert np.abs(decoded(content).astype(int) - expected).max() <= (1 if "16 bits" in kind else 0)


@pytest.mark.parametrize("kind", OF_16_BITS)
def test_16_bits_are_scaled_to_8(kind):
    expected = np.round(GREY_16 / 257.0)
    assert (decoded(OF_16_BITS[kind]) == expected[..., np.newaxis]).all()


def test_16_bits_of_colours_are_scaled_too():
    colours = np.random.default_rng(1).integers(0, 2**16, (5, 7, 3), dtype=np.uint16)
    assert (decoded(tf.io.encode_png(colours).numpy()) == np.round(colours / 257.0)).all()


def test_heic_is_decoded():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    assert psnr(decoded(saved("HEIF", quality=95)), np.asarray(PICTURE)) > 30


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_of_unknown_range_are_refused(mode):
    image = PICTURE.convert("L").convert(mode) if mode != "LAB" else Image.new("LAB", (4, 4))
    with pytest.raises(DataError, match="which is not supported; convert it"):
        decoded(saved("TIFF", mode, image))


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "GIF"])
def test_pillow_obeys_the_limit_of_pixels(kind):
    with pytest.raises(DataError, match="32 x 24 pixels, more than the 700 allowed"):
        decoded(saved(kind), max_pixels=700)


def test_postscript_is_not_given_to_pillow():
    """Pillow would start Ghostscript."""
    with pytest.raises(DataError, match="unknown image format"):
        decoded(saved("EPS"))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "AVIF"])
def test_portable_graphs_say_what_they_read(kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match="reads JPEG, PNG, still WebP"):
        decoded(saved(kind), is_portable=True)


def test_portable_graphs_hold_no_python_function():
    def decode(contents):
        return decode_whole(contents, DecodingOptions(is_portable=True))

    traced = tf.function(decode, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.string)
    )
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    assert not [node.op for node in nodes if "PyFunc" in node.op]
    assert np.array_equal(traced(tf.constant(JPEG)), decoded(JPEG))
