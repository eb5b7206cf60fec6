"""RandAugment and TrivialAugment: operations, magnitudes and signs have torchvision's frequencies.

The rule is written down here from torchvision/transforms/autoaugment.py, in its units.
"""

import collections
import math

import numpy as np
import pytest
from scipy import stats

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment.operations import KINDS

from .draws import LEAST_P, drawn, have_probabilities

NUM_BINS = 31
HEIGHT, WIDTH = 40, 60
# Magnitudes of both policies: name, largest (of RandAugment, of TrivialAugmentWide), has a sign.
LINEAR = [
    ("shear_x", 0.3, 0.99),
    ("shear_y", 0.3, 0.99),
    ("translate_x", 150 / 331 * WIDTH, 32.0),
    ("translate_y", 150 / 331 * HEIGHT, 32.0),
    ("rotate", 30.0, 135.0),
    ("brightness", 0.9, 0.99),
    ("colour", 0.9, 0.99),
    ("contrast", 0.9, 0.99),
    ("sharpness", 0.9, 0.99),
]
DROPPED_BITS = (4, 6)


def effect(name, magnitude):
    """What an operation does: a name and a number."""
    if name.startswith("translate"):
        magnitude = int(magnitude)  # whole pixels, as in torchvision
    if name == "solarize":
        magnitude = math.ceil(magnitude)  # whole pixel values at or above it are inverted
    is_warp = name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    return ("identity", 0.0) if is_warp and magnitude == 0 else (name, float(magnitude))


def rule(bins, policy):
    """Returns the probability of every effect by torchvision's rule.

    An operation is drawn from 14, its magnitude from the bins, and a sign if it has one.

    Args:
        bins: Indices of the magnitudes, equally likely.
        policy: 0 for RandAugment, 1 for TrivialAugmentWide.
    """
    probabilities = collections.Counter()
    for bin_ in bins:
        for name, *largest in LINEAR:
            magnitude = np.linspace(0.0, largest[policy], NUM_BINS)[bin_]
            for sign in (1, -1):
                probabilities[effect(name, sign * magnitude)] += 1 / 2
        bits = 8 - round(bin_ / ((NUM_BINS - 1) / DROPPED_BITS[policy]))
        probabilities[effect("posterize", bits)] += 1
        probabilities[effect("solarize", np.linspace(255.0, 0.0, NUM_BINS)[bin_])] += 1
        for name in ("identity", "autocontrast", "equalize"):
            probabilities[effect(name, 0)] += 1
    return {what: number / (14 * len(bins)) for what, number in probabilities.items()}


def decoded(kind, amount, map_):
    """Returns the effect of a drawn operation."""
    name = KINDS[kind]
    a, b, c, d, _, f = (map_ / 2**15).tolist()
    if name == "posterize":
        return name, 8.0 - math.log2(256 - amount)
    if name in ("brightness", "colour", "contrast", "sharpness"):
        return name, amount / 4096 - 1
    if name != "warp":
        return name, float(amount)
    if b and d:
        return "rotate", math.degrees(math.atan2(d, a))
    values = {"shear_x": b, "shear_y": d, "translate_x": c, "translate_y": f}
    return next((one for one in values.items() if one[1]), ("identity", 0.0))


def outcomes(numbers, maps, probabilities):
    """Returns the drawn operations as indices into `probabilities`, `[num]`; -1 if not in it."""
    names = list(probabilities)
    rows = np.concatenate([numbers, maps], axis=1)
    distinct, index = np.unique(rows, axis=0, return_inverse=True)
    found = []
    for kind, amount, *map_ in distinct:
        name, value = decoded(kind, amount, np.array(map_))
        tolerance = 0.02 if name == "rotate" else 0.002
        near = [
            i
            for i, (other, magnitude) in enumerate(names)
            if other == name and abs(magnitude - value) < tolerance
        ]
        found.append(near[0] if len(near) == 1 else -1)
    return np.array(found)[index.ravel()]


def follow(drawn_indices, probabilities):
    return have_probabilities(drawn_indices, dict(enumerate(probabilities.values())))


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_operations_of_rand_augment_are_those_of_torchvision(magnitude):
    part = sections.RandAugment(name="rand_augment", magnitude=magnitude)
    expected = rule([magnitude], policy=0)
    first_numbers, first_maps, second_numbers, second_maps = drawn(part, (HEIGHT, WIDTH, 3))
    first = outcomes(first_numbers, first_maps, expected)
    second = outcomes(second_numbers, second_maps, expected)
    assert follow(first, expected)
    assert follow(second, expected)
    # The two are independent, and may be the same.
    table = np.zeros((len(expected), len(expected)))
    np.add.at(table, (first, second), 1)
    assert stats.chi2_contingency(table).pvalue > LEAST_P
    assert table.trace() > 0


def test_operations_of_trivial_augment_are_those_of_torchvision():
    part = sections.TrivialAugment(name="trivial_augment")
    expected = rule(range(NUM_BINS), policy=1)
    assert len(expected) > 400
    assert follow(outcomes(*drawn(part, (HEIGHT, WIDTH, 3), num=60_000), expected), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        rule([8], policy=0),  # another bin
        rule([9], policy=1),  # the other ranges
        {what: p for what, p in rule([9], policy=0).items() if what[1] >= 0},  # one sign
    ],
)
def test_other_rules_are_told_apart(wrong):
    numbers, maps, *_ = drawn(sections.RandAugment(name="rand_augment"), (HEIGHT, WIDTH, 3))
    assert not follow(outcomes(numbers, maps, wrong), wrong)


def test_other_frequencies_of_signs_are_told_apart():
    numbers, maps, *_ = drawn(sections.RandAugment(name="rand_augment"), (HEIGHT, WIDTH, 3))
    expected = rule([9], policy=0)
    # Operations without a sign would be half as frequent if pairs of both were drawn from 23.
    wrong = {what: 1 / len(expected) for what in expected}
    assert not follow(outcomes(numbers, maps, wrong), wrong)
