import numpy as np
import pytest

from hvd_imgcls.config.augmentations import RandAugment, TrivialAugment
from hvd_imgcls.data.augment.operations import (
    operations_of,
    rand_augment_ranges,
    table_of,
    trivial_augment_ranges,
)
from hvd_imgcls.data.augment.policies import apply_operations
from hvd_imgcls.data.augment.tone import blur, equalize

from .batches import augmented_images, batch_of, random_batch


def smooth_batch(num, side=32):
    """Images of few values, so that their histograms are uneven."""
    generator = np.random.default_rng(1)
    images = 5 + 58 * generator.integers(0, 5, (num, side, side, 3))
    return batch_of((images + generator.integers(0, 8, images.shape)).astype(np.uint8))


def applied(images, operation):
    return apply_operations(images, *table_of([operation] * len(images))).numpy()


def expected_of(name, images, strength):
    """Returns what torchvision's documentation says of operations without a map."""
    share = strength / 30
    values = images.numpy().astype(float)
    if name == "identity":
        return values
    if name == "brightness":
        return np.clip(np.rint(values * round((1 + 0.9 * share) * 4096) / 4096), 0, 255)
    if name == "posterize":
        return values // 2 ** round(4 * share) * 2 ** round(4 * share)
    if name == "solarize":
        return np.where(values >= 255 - 255 * share, 255 - values, values)
    least = values.min(axis=(1, 2), keepdims=True)
    return np.rint((values - least) * 255 / (values.max(axis=(1, 2), keepdims=True) - least))


@pytest.mark.parametrize("strength", [0, 9, 22, 30])
@pytest.mark.parametrize(
    "name", ["identity", "brightness", "posterize", "solarize", "autocontrast"]
)
def test_operations_on_values_are_those_of_numpy(name, strength):
    images = smooth_batch(3).images
    ranges = rand_augment_ranges(32, 32)
    positive, _ = operations_of(ranges, strength, height=32, width=32)[name]
    np.testing.assert_array_equal(applied(images, positive), expected_of(name, images, strength))


def test_all_operations_are_torchvisions_in_number_and_range():
    height, width = 100, 331
    rows = operations_of(rand_augment_ranges(height, width), 30, height=height, width=width)
    assert len(rows) == 14
    assert rows["translate_x"][0].map[2] / 2**15 == 150
    assert rows["translate_y"][1].map[5] / 2**15 == -45
    assert rows["shear_x"][0].map[1] / 2**15 == pytest.approx(0.3, abs=1e-4)
    assert rows["rotate"][0].map[0] / 2**15 == pytest.approx(np.cos(np.pi / 6), abs=1e-4)
    assert rows["contrast"][1].amount == round(0.1 * 4096)
    wide = operations_of(trivial_augment_ranges(), 30, height=height, width=width)
    assert wide["translate_y"][0].map[5] / 2**15 == 32
    assert wide["posterize"][0].amount == 0b11000000
    assert wide["sharpness"][0].amount == round(1.99 * 4096)
    assert [row.amount for row in (wide["solarize"][0], rows["solarize"][0])] == [0, 0]


def test_without_strength_images_keep_all_but_their_contrast():
    images = smooth_batch(1).images
    operations = operations_of(trivial_augment_ranges(), 0, height=32, width=32)
    changing = {
        name
        for name, pair in operations.items()
        if not all(np.array_equal(applied(images, one), images) for one in pair)
    }
    # Solarize inverts 255 alone.
    assert changing == {"autocontrast", "equalize"}
    white = batch_of(np.full((1, 4, 4, 3), 255, np.uint8)).images
    assert (applied(white, operations["solarize"][0]) == 0).all()


def equalized_by_hand(channel):
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (channel.size - counts[counts.nonzero()[0][-1]]) // 255
    if step == 0:
        return channel
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.minimum((below + step // 2) // step, 255)[channel]


@pytest.mark.parametrize("side", [8, 32])
def test_equalize_is_that_of_one_channel_after_the_other(side):
    images = smooth_batch(3, side).images
    equalized = equalize(images).numpy()
    by_hand = np.stack(
        [
            np.stack([equalized_by_hand(image[..., c]) for c in range(3)], axis=-1)
            for image in images.numpy()
        ]
    )
    np.testing.assert_array_equal(equalized, by_hand)
    # An image of 64 pixels has a step of 0.
    assert np.array_equal(equalized, images) == (side == 8)
    assert equalize(images[:0]).shape == (0, side, side, 3)


def test_blur_is_the_weighted_mean_and_keeps_the_border():
    images = random_batch(2).images
    values = images.numpy().astype(float)
    expected = values.copy()
    for row in range(1, 8):
        for column in range(1, 11):
            around = values[:, row - 1 : row + 2, column - 1 : column + 2].sum(axis=(1, 2))
            expected[:, row, column] = np.rint((around + 4 * values[:, row, column]) / 13)
    np.testing.assert_array_equal(blur(images), expected)


def test_every_example_gets_its_own_operation():
    """Each of the rows of RandAugment comes about as often as the others."""
    num = 560
    image = np.repeat(smooth_batch(1).images.numpy(), num, axis=0)
    changed = augmented_images(batch_of(image), RandAugment(name="rand_augment", num_ops=1))
    rows = operations_of(rand_augment_ranges(32, 32), 9, height=32, width=32)
    counts = {}
    for name, pair in rows.items():
        results = {applied(image[:1], row).tobytes() for row in pair}
        counts[name] = sum(one.tobytes() in results for one in changed)
    assert sum(counts.values()) == num
    assert min(counts.values()) > 18
    assert max(counts.values()) < 70


def test_trivial_augment_draws_many_strengths():
    image = np.repeat(smooth_batch(1).images.numpy(), 500, axis=0)
    changed = augmented_images(batch_of(image), TrivialAugment(name="trivial_augment"))
    assert len({one.tobytes() for one in changed}) > 150
