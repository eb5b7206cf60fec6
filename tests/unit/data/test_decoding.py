"""Windows of images: the same pixels as cutting them out of the decoded image."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding.windows import centre_window, decode_window, random_window
from tests.unit.data.images import encoded

WHOLE = RandomResizedCrop(name="random_resized_crop")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_window_is_cut_out_of_the_decoded_image(suffix, num_channels):
    contents = encoded(suffix, 5)
    whole = tf.io.decode_image(contents, channels=num_channels).numpy()
    pixels = decode_window(
        tf.constant(contents),
        lambda size: tf.constant([3, 6, 16, 16]),
        image_size=16,
        num_channels=num_channels,
        max_pixels=10**6,
    )
    # JPEG holds colours at half the resolution: those at the edge are interpolated with what
    # is beyond it, and that is not decoded.
    difference = np.abs(pixels.numpy().astype(int) - whole[3:19, 6:22])
    # And the grey of a PNG is rounded here, but cut off by libpng.
    inside = 1 if (suffix, num_channels) == (".png", 1) else 0
    assert difference.max() <= (4 if suffix == ".jpg" and num_channels == 3 else inside)
    assert difference[:, 1:-1].max() <= inside


def test_resizing_interpolates_between_pixel_centres():
    image = np.array([[[0], [100]], [[100], [200]]], np.uint8)
    pixels = decode_window(
        tf.io.encode_png(image),
        lambda size: tf.constant([0, 0, 2, 2]),
        image_size=4,
        num_channels=1,
        max_pixels=10**6,
    )
    assert pixels.numpy()[0, :, 0].tolist() == [0, 25, 75, 100]
    assert pixels.dtype == tf.uint8


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
    assert centre_window(tf.constant(size), fraction).numpy().tolist() == expected


def test_random_windows_lie_inside_and_follow_their_ranges():
    size = tf.constant([300, 400])
    windows = np.array(
        [random_window(size, WHOLE, tf.constant([9, e], tf.int64)).numpy() for e in range(300)]
    )
    first, extent = windows[:, :2], windows[:, 2:]
    assert (first >= 0).all()
    assert (first + extent <= [300, 400]).all()
    area = extent.prod(axis=1) / (300 * 400)
    ratio = extent[:, 1] / extent[:, 0]
    assert 0.07 < area.min() < 0.15
    assert area.max() > 0.85
    assert 0.74 < ratio.min() < 0.8
    assert 1.27 < ratio.max() < 1.36


def draw(*key):
    window = random_window(tf.constant([300, 400]), WHOLE, tf.constant(key, tf.int64))
    return window.numpy().tolist()


def test_the_window_is_a_function_of_its_key():
    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3)
    assert draw(1, 2) != draw(2, 2)
