import numpy as np
import pytest

from hvd_imgcls.config.augmentations import Cutout, RandomErasing

from .batches import augmented_images, batch_of

SIDE = 32


def white(num, side=SIDE):
    return batch_of(np.full((num, side, side, 3), 255, np.uint8))


def rectangles(erased):
    """Yields top, bottom, left and right of what is not white, and asserts that all of it is."""
    for image in erased:
        black = (image != 255).any(axis=-1)
        if not black.any():
            continue
        rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        assert black[top:bottom, left:right].all()
        yield int(top), int(bottom), int(left), int(right)


def test_erased_rectangles_have_areas_and_shapes_of_their_ranges():
    part = RandomErasing(name="random_erasing", probability=1.0)
    found = list(rectangles(augmented_images(white(400), part)))
    assert len(found) == 400
    heights, widths = np.array([(b - t, r - le) for t, b, le, r in found]).T
    shares = heights * widths / SIDE**2
    # Rounding a side of 4 or more pixels changes the area by an eighth at most, twice.
    assert 0.015 < shares.min() < 0.04
    assert 0.28 < shares.max() < 0.36
    assert np.mean(shares) == pytest.approx((0.02 + 0.33) / 2, abs=0.02)
    ratios = heights / widths
    assert 0.2 < ratios.min() < 0.45
    assert 2.4 < ratios.max() < 4.5
    assert abs(np.mean(np.log(ratios))) < 0.1


def test_erased_rectangles_lie_anywhere():
    part = RandomErasing(name="random_erasing", probability=1.0)
    found = np.array(list(rectangles(augmented_images(white(400), part))))
    assert found[:, [0, 2]].min(axis=0).tolist() == [0, 0]
    assert found[:, [1, 3]].max(axis=0).tolist() == [SIDE, SIDE]
    centres = (found[:, [0, 2]] + found[:, [1, 3]]) / 2
    np.testing.assert_allclose(centres.mean(axis=0), SIDE / 2, atol=1.5)


def test_erasing_hits_half_of_the_images():
    erased = augmented_images(white(400), RandomErasing(name="random_erasing"))
    assert 150 < len(list(rectangles(erased))) < 250


def test_a_rectangle_that_never_fits_leaves_the_image():
    part = RandomErasing(
        name="random_erasing", probability=1.0, area=(0.9, 0.9), aspect_ratio=(3.0, 3.0)
    )
    batch = white(10)
    np.testing.assert_array_equal(augmented_images(batch, part), batch.images)


def test_erasing_with_random_values_writes_all_of_them():
    black = batch_of(np.zeros((300, SIDE, SIDE, 3), np.uint8))
    part = RandomErasing(name="random_erasing", probability=1.0, value="random")
    written = augmented_images(black, part)
    values = written[written > 0]
    counts = np.bincount(values, minlength=256)[1:]
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()
    assert not np.array_equal(written[0], written[1])


@pytest.mark.parametrize("size", [1, 7, 16])
def test_cutout_erases_a_square_around_any_pixel(size):
    found = list(rectangles(augmented_images(white(600, 16), Cutout(name="cutout", size=size))))
    assert len(found) == 600
    tops = {(t, b) for t, b, _, _ in found}
    expected = {(max(c - size // 2, 0), min(c - size // 2 + size, 16)) for c in range(16)}
    assert tops == {(int(t), int(b)) for t, b in expected}
    assert {(le, r) for _, _, le, r in found} == tops
