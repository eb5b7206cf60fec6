"""Random erasing and cutout: rectangles have the distribution of the source's rule."""

import numpy as np
import pytest

from hvd_imgcls.config import augmentations as sections

from .draws import drawn, have_probabilities, have_probability, same_distribution

NUM = 20_000


def erasing_rule(height, width, area, ratio, *, log_uniform=True, of_side=False, attempts=10):
    """Returns top, left, height and width of rectangles and whether there is one.

    The rule of torchvision's `RandomErasing.get_params`, all images at once: up to ten times, an
    area and an aspect ratio with a uniform logarithm are drawn; the first rectangle that is
    smaller than the image in both directions is used, at a random place where it fits.
    """
    random = np.random.default_rng(5)
    tall, wide = np.zeros(NUM, int), np.zeros(NUM, int)
    is_done = np.zeros(NUM, bool)
    for _ in range(attempts):
        share = random.uniform(*area, NUM)
        if of_side:  # a wrong rule: the fraction of the side
            share = share**2
        logarithm = random.uniform(*np.log(ratio), NUM)
        aspect = np.exp(logarithm) if log_uniform else random.uniform(*ratio, NUM)
        h = np.rint(np.sqrt(height * width * share * aspect)).astype(int)
        w = np.rint(np.sqrt(height * width * share / aspect)).astype(int)
        fits = (h < height) & (w < width) & ~is_done
        tall[fits], wide[fits] = h[fits], w[fits]
        is_done |= fits
    top = np.floor(random.uniform(size=NUM) * (height - tall + 1)).astype(int)
    left = np.floor(random.uniform(size=NUM) * (width - wide + 1)).astype(int)
    return top, left, tall, wide, is_done


def features(top, left, tall, wide):
    """Numbers whose distributions are compared; places relative to the room there is."""
    return {
        "area": tall * wide,
        "log aspect ratio": np.log(tall / wide),
        "height": tall,
        "top": top,
        "bottom": top + tall,
        "left": left,
        "right": left + wide,
    }


def differing(ours, theirs):
    return [name for name in ours if not same_distribution(ours[name], theirs[name])]


# The last is narrow: half of the rectangles do not fit at first, and some never.
CASES = [
    (224, 224, (0.02, 0.33), (0.3, 3.3)),
    (160, 320, (0.1, 0.2), (0.5, 1.5)),
    (60, 240, (0.3, 0.9), (0.3, 3.3)),
]


def erased(height, width, area, ratio, probability=1.0):
    part = sections.RandomErasing(
        name="random_erasing", area=area, aspect_ratio=ratio, probability=probability
    )
    top, bottom, left, right, _ = drawn(part, (height, width, 3), num=NUM)
    is_erased = bottom > top
    inside = (top >= 0) & (bottom <= height) & (left >= 0) & (right <= width)
    assert inside[is_erased].all()
    numbers = (top, left, bottom - top, right - left)
    return features(*(number[is_erased] for number in numbers)), is_erased


@pytest.mark.parametrize("case", CASES)
def test_erased_rectangles_are_those_of_torchvision(case):
    ours, is_erased = erased(*case)
    *numbers, is_done = erasing_rule(*case)
    assert differing(ours, features(*(number[is_done] for number in numbers))) == []
    if is_done.all():
        assert is_erased.all()
    else:
        assert have_probability(is_erased, is_done.mean())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"log_uniform": False}, "log aspect ratio"),
        ({"of_side": True}, "area"),
        ({"attempts": 1}, None),
    ],
)
def test_other_rules_are_told_apart(wrong, named):
    ours, is_erased = erased(*CASES[-1])
    *numbers, is_done = erasing_rule(*CASES[-1], **wrong)
    theirs = features(*(number[is_done] for number in numbers))
    if named is None:
        assert not have_probability(is_erased, is_done.mean())
    else:
        assert named in differing(ours, theirs)


def test_every_place_where_a_rectangle_fits_is_equally_likely():
    # One rectangle of 3 x 3 pixels in 6 x 8: both the first and the last place.
    part = sections.RandomErasing(
        name="random_erasing", area=(9 / 48, 9 / 48), aspect_ratio=(1.0, 1.0), probability=1.0
    )
    top, bottom, left, right, _ = drawn(part, (6, 8, 3), num=NUM)
    assert set((bottom - top).tolist()) == set((right - left).tolist()) == {3}
    places = {(y, x): 1 / 24 for y in range(4) for x in range(6)}
    assert have_probabilities(np.stack([top, left], axis=1), places)


def test_erasing_has_its_probability():
    _, is_erased = erased(*CASES[0], probability=0.25)
    assert have_probability(is_erased, 0.25)


def test_random_values_of_two_images_differ():
    *_, words = drawn(sections.RandomErasing(name="random_erasing"), (32, 32, 3), num=NUM)
    assert same_distribution(words / 2**32, np.random.default_rng(0).uniform(size=NUM))


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 16), (12, 20, 4), (9, 9, 8)])
def test_cutout_squares_are_those_of_its_authors_code(height, width, size):
    # The centre is any pixel; the square reaches size // 2 pixels in both directions and is clipped
    # to the image (https://github.com/uoguelph-mlrg/Cutout, util/cutout.py).
    part = sections.Cutout(name="cutout", size=size)
    top, bottom, left, right = drawn(part, (height, width, 3), num=NUM)

    def sides(length):
        ends = [
            (max(0, centre - size // 2), min(length, centre + size // 2))
            for centre in range(length)
        ]
        return {end: ends.count(end) / length for end in ends}

    rows = np.stack([np.maximum(top, 0), np.minimum(bottom, height)], axis=1)
    columns = np.stack([np.maximum(left, 0), np.minimum(right, width)], axis=1)
    assert have_probabilities(rows, sides(height))
    assert have_probabilities(columns, sides(width))
    # A square that is always whole has another distribution.
    inside = [(first, first + size) for first in range(height - size + 1)]
    assert not have_probabilities(rows, dict.fromkeys(inside, 1 / len(inside)))


def test_cutout_has_its_probability_and_odd_squares_are_whole():
    part = sections.Cutout(name="cutout", size=5, probability=0.4)
    top, bottom, left, right = drawn(part, (32, 32, 3), num=NUM)
    is_cut = bottom > top
    assert have_probability(is_cut, 0.4)
    np.testing.assert_array_equal(is_cut, right > left)
    assert set((bottom - top)[is_cut].tolist()) == {5}
    # The centre is a pixel: from 2 pixels before to 2 pixels after it.
    centres = dict.fromkeys(range(32), 1 / 32)
    assert have_probabilities(top[is_cut] + 2, centres)
