import numpy as np
import pytest

from hvd_imgcls.config.augmentations import RandomCrop, RandomFlip, RandomRotation
from hvd_imgcls.data.augment.warping import affine, rotation, warp_bilinear, warp_nearest

from .batches import augmented_images, batch_of, random_batch


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zero", "constant"), ("reflect", "reflect")])
def test_a_crop_is_a_window_of_the_padded_image_and_all_windows_come(mode, numpy_mode):
    batch = random_batch(200)
    part = RandomCrop(name="random_crop", padding=2, padding_mode=mode)
    seen = np.zeros((5, 5), int)
    for image, cropped in zip(batch.images.numpy(), augmented_images(batch, part), strict=True):
        padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], mode=numpy_mode)
        windows = np.lib.stride_tricks.sliding_window_view(padded, image.shape)[:, :, 0]
        seen += (windows == cropped).all(axis=(2, 3, 4))
    assert seen.sum() == 200
    # Each window is expected 8 times.
    assert seen.min() >= 1
    assert seen.max() <= 20


@pytest.mark.parametrize(("vertical", "axis"), [(False, 1), (True, 0)])
def test_a_flip_mirrors_about_half_of_the_images_and_twice_is_none(vertical, axis):
    batch = random_batch(200)
    part = RandomFlip(name="random_flip", vertical=vertical)
    flipped = augmented_images(batch, part)
    mirrored = [
        np.array_equal(np.flip(image, axis), changed)
        for image, changed in zip(batch.images.numpy(), flipped, strict=True)
    ]
    kept = (flipped == batch.images.numpy()).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored, ~kept)
    assert 70 < sum(mirrored) < 130
    np.testing.assert_array_equal(augmented_images(batch_of(flipped), part), batch.images)


def maps_of(one, num):
    return np.tile(one, (num, 1))


@pytest.mark.parametrize("warp", [warp_nearest, warp_bilinear])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rotation_by_quarter_turns_is_exact(warp, quarters):
    images = random_batch(3, 10, 10).images
    turned = warp(images, maps_of(rotation(quarters * np.pi / 2, 10, 10), 3)).numpy()
    np.testing.assert_array_equal(turned, np.rot90(images, quarters, axes=(1, 2)))


def bilinear_by_hand(image, angle):
    """Interpolates in float64."""
    height, width, _ = image.shape
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    column = cos * x - sin * y + (width - 1) / 2
    row = sin * x + cos * y + (height - 1) / 2
    # Two pixels of zeros around the image, and beyond them nothing but zeros either.
    padded = np.pad(image.astype(float), [(2, 2), (2, 2), (0, 0)])
    row, column = np.clip(row, -2, height) + 2, np.clip(column, -2, width) + 2
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    down, right = (row - top)[..., None], (column - left)[..., None]
    upper = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    lower = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("degrees", [-170, -30, 7, 45])
def test_bilinear_rotation_is_that_of_floats_to_the_resolution_of_its_weights(degrees):
    images = random_batch(2).images
    angle = np.radians(degrees)
    turned = warp_bilinear(images, maps_of(rotation(angle, 9, 12), 2)).numpy()
    by_hand = np.stack([bilinear_by_hand(image, angle) for image in images.numpy()])
    # Positions are rounded to 1/256 of a pixel: at most 255 / 512 per direction, and 0.5.
    assert np.abs(turned - by_hand).max() < 1.6
    assert not np.array_equal(turned, images)


def test_random_rotation_turns_by_any_angle_up_to_the_largest():
    # A bright half plane: the angle shows in where its edge meets the upper border.
    image = np.zeros((41, 41, 1), np.uint8)
    image[:, 20:] = 255
    batch = batch_of(np.tile(image, (300, 1, 1, 1)))
    turned = augmented_images(batch, RandomRotation(name="random_rotation", degrees=20.0))
    edge = 40.5 - turned[:, 10, 5:36, 0].sum(axis=1) / 255 - 4.5
    angles = np.degrees(np.arctan2(edge - 20, 10))
    assert np.abs(angles).max() < 22
    assert angles.min() < -17
    assert angles.max() > 17
    assert abs(np.median(angles)) < 4


def test_nearest_translation_moves_pixels_and_leaves_zeros():
    images = random_batch(1).images
    moved = warp_nearest(images, maps_of(affine((1.0, 0.0, 0.0, 1.0), (2.0, -3.0)), 1)).numpy()
    expected = np.zeros_like(images)
    expected[:, 3:, :-2] = images.numpy()[:, :-3, 2:]
    np.testing.assert_array_equal(moved, expected)


def test_nearest_shear_moves_every_row_by_its_own_number_of_pixels():
    images = random_batch(1).images
    sheared = warp_nearest(images, maps_of(affine((1.0, 1.0, 0.0, 1.0)), 1)).numpy()
    for row in range(9):
        expected = np.zeros((12, 3), np.uint8)
        expected[: 12 - row] = images.numpy()[0, row, row:]
        np.testing.assert_array_equal(sheared[0, row], expected)
