"""Windows of images: the same pixels as cutting them out of the decoded image."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hvd_imgcls.data.decoding.decode import decode_shrunk, decode_window
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.windows import Window, centre_window
from tests.unit.data.decoding.pictures import jpeg_of, photograph, psnr
from tests.unit.data.images import encoded

METHODS = {"antialias": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def window_of(row, column, height, width):
    return lambda size: Window(tf.constant([row, column]), tf.constant([height, width]))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_window_is_cut_out_of_the_decoded_image(suffix, num_channels):
    contents = tf.constant(encoded(suffix, 5))
    options = DecodingOptions(num_channels=num_channels)
    whole = (
        tf.io.decode_image(contents, channels=num_channels)
        if suffix == ".png"
        else tf.io.decode_jpeg(contents, channels=num_channels, dct_method="INTEGER_ACCURATE")
    )
    pixels = decode_window(contents, window_of(3, 6, 16, 16), 16, options)
    # JPEG holds colours at half the resolution: those at the edge are interpolated with what
    # is beyond it, and that is not decoded.
    difference = np.abs(pixels.numpy().astype(int) - whole.numpy()[3:19, 6:22])
    # And the grey of a PNG is rounded here, but cut off by libpng.
    inside = 1 if (suffix, num_channels) == (".png", 1) else 0
    assert difference.max() <= (4 if suffix == ".jpg" and num_channels == 3 else inside)
    assert difference[:, 1:-1].max() <= inside


@pytest.mark.parametrize("method", ["bilinear", "antialias"])
def test_enlarging_interpolates_between_pixel_centres(method):
    image = np.array([[[0], [100]], [[100], [200]]], np.uint8)
    options = DecodingOptions(num_channels=1, resize=method)
    pixels = decode_window(tf.io.encode_png(image), window_of(0, 0, 2, 2), 4, options)
    assert pixels.numpy()[0, :, 0].tolist() == [0, 25, 75, 100]
    assert pixels.dtype == tf.uint8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("extent", [(61, 47), (90, 133), (200, 150)])
def test_resizing_is_that_of_pillow(method, extent):
    picture = photograph(240, 180)
    first = 7, 11
    pixels = decode_window(
        tf.io.encode_png(picture),
        window_of(*first, *extent),
        40,
        DecodingOptions(resize=method),
    )
    cut = picture[first[0] :, first[1] :][: extent[0], : extent[1]]
    expected = np.asarray(Image.fromarray(cut).resize((40, 40), METHODS[method]))
    # Pillow rounds and clips to bytes after each direction.
    assert np.abs(pixels.numpy().astype(int) - expected).max() <= 3


@pytest.mark.parametrize("side", [300, 460, 800, 1600, 2400])
def test_a_large_jpeg_looks_as_if_it_had_been_decoded_completely(side):
    """At half, a quarter or an eighth of its size, and then shrunk."""
    picture = photograph(side, side * 3 // 4)
    contents = jpeg_of(picture, quality=95)
    window = side // 10 + 1, side // 12 + 3, side * 5 // 8 + 1, side * 5 // 8 + 3
    pixels = decode_window(tf.constant(contents), window_of(*window), 48, DecodingOptions())
    row, column, height, width = window
    decoded = tf.io.decode_jpeg(contents, dct_method="INTEGER_ACCURATE").numpy()
    cut = decoded[row : row + height, column : column + width]
    expected = Image.fromarray(cut).resize((48, 48), Image.Resampling.BILINEAR)
    assert psnr(pixels.numpy(), np.asarray(expected)) > 40


def test_without_antialiasing_pixels_are_as_before():
    contents = tf.constant(jpeg_of(photograph(300, 200), quality=95))
    pixels = decode_window(
        contents, window_of(10, 20, 150, 170), 40, DecodingOptions(resize="bilinear")
    )
    window = tf.image.decode_and_crop_jpeg(contents, [10, 20, 150, 170], channels=3)
    expected = tf.compat.v1.image.resize_bilinear(
        window[tf.newaxis], (40, 40), half_pixel_centers=True
    )
    assert np.array_equal(pixels, tf.cast(tf.round(expected[0]), tf.uint8))


@pytest.mark.parametrize("size", [(300, 200), (90, 1000), (40, 50)])
def test_an_image_is_shrunk_to_a_longer_side(size):
    picture = photograph(*size)
    for contents in (jpeg_of(picture, quality=95), tf.io.encode_png(picture).numpy()):
        pixels = decode_shrunk(tf.constant(contents), 64, DecodingOptions()).numpy()
        scale = min(64 / max(size), 1)
        assert pixels.shape == (round(size[0] * scale), round(size[1] * scale), 3)
        expected = Image.fromarray(picture).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
        assert psnr(pixels, np.asarray(expected)) > 30


@pytest.mark.parametrize(
    ("size", "fraction", "expected"),
    [
        ((24, 32), 1.0, [0, 4, 24, 24]),
        ((256, 256), 0.875, [16, 16, 224, 224]),
        ((500, 375), 0.875, [86, 23, 328, 328]),
        ((1, 1), 0.1, [0, 0, 1, 1]),
    ],
)
def test_the_centre_window_is_a_square_in_the_middle(size, fraction, expected):
    window = centre_window(tf.constant(size), fraction)
    assert tf.concat(window, axis=0).numpy().tolist() == expected
