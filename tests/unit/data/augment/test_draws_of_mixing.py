"""Mixup and CutMix: weights and rectangles have the distribution of the papers' rules."""

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment import Batch, make_augment

from .draws import drawn, have_probabilities, have_probability, same_distribution

NUM = 20_000
FULL = 2**16


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_of_mixup_are_of_the_beta_distribution(alpha):
    # Zhang et al. 2017, section 2: lambda from Beta(alpha, alpha).
    (weights,) = drawn(sections.Mixup(name="mixup", alpha=alpha), (8, 8, 3), num=NUM)
    random = np.random.default_rng(0)
    assert same_distribution(weights, np.rint(FULL * random.beta(alpha, alpha, NUM)))
    for wrong in (random.beta(1.3 * alpha, 1.3 * alpha, NUM), random.beta(alpha, 1.3 * alpha, NUM)):
        assert not same_distribution(weights, np.rint(FULL * wrong))
    # Not the larger of lambda and 1 - lambda either, as in some implementations.
    larger = random.beta(alpha, alpha, NUM)
    assert not same_distribution(weights, np.rint(FULL * np.maximum(larger, 1 - larger)))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_has_its_probability(name):
    section = {"mixup": sections.Mixup, "cutmix": sections.Cutmix}[name]
    parameters = drawn(section(name=name, probability=0.3, alpha=4.0), (224, 224, 3), num=NUM)
    if name == "mixup":
        assert have_probability(parameters[0] < FULL, 0.3)
    else:
        top, bottom, *_ = parameters
        assert have_probability(bottom > top, 0.3)


def cutmix_rule(height, width, alpha, *, of_area=False, always_inside=False):
    """Returns top, bottom, left and right.

    Equation 2 of Yun et al. 2019: sides of `sqrt(1 - lambda)` of those of the image, here rounded
    to pixels, around a centre that is uniform over the image; clipped, as in the authors' code.
    """
    random = np.random.default_rng(7)
    share = 1 - random.beta(alpha, alpha, NUM)
    if not of_area:
        share = np.sqrt(share)
    ends = []
    for length in (height, width):
        side = np.rint(length * share).astype(int)
        centre = random.integers(0, length, NUM)
        if always_inside:
            centre = side // 2 + np.floor(random.uniform(size=NUM) * (length - side + 1))
        first = centre - side // 2
        ends += [np.clip(first, 0, length), np.clip(first + side, 0, length)]
    return ends


def differing(ours, theirs):
    """The numbers of two samples of rectangles whose distributions differ."""

    def features(top, bottom, left, right):
        return {
            "area": (bottom - top) * (right - left),
            "height": bottom - top,
            "width": right - left,
            "centre": top + bottom,
            "top": top,
            "bottom": bottom,
            "left": left,
            "right": right,
        }

    first, second = features(*ours), features(*theirs)
    return [name for name in first if not same_distribution(first[name], second[name])]


@pytest.mark.parametrize(("height", "width"), [(224, 160), (32, 32)])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_rectangles_of_cutmix_are_those_of_the_paper(height, width, alpha):
    part = sections.Cutmix(name="cutmix", alpha=alpha)
    ours = drawn(part, (height, width, 3), num=NUM)
    assert differing(ours, cutmix_rule(height, width, alpha)) == []
    assert "area" in differing(ours, cutmix_rule(height, width, alpha, of_area=True))
    assert "area" in differing(ours, cutmix_rule(height, width, 2 * alpha))
    assert "top" in differing(ours, cutmix_rule(height, width, alpha, always_inside=True))


def test_the_centre_of_a_rectangle_is_any_pixel():
    # Rectangles inside the image: their centre is what was drawn.
    top, bottom, _, _ = drawn(sections.Cutmix(name="cutmix", alpha=4.0), (8, 8, 3), num=60_000)
    height = bottom - top
    for side in (2, 4):
        is_whole = (height == side) & (top > 0) & (bottom < 8)
        centres = range(side // 2 + 1, 8 - side // 2)
        centre = top[is_whole] + side // 2
        assert have_probabilities(centre, dict.fromkeys(centres, 1 / len(centres)))


def test_targets_of_cutmix_are_blended_by_the_area_after_clipping():
    num, height, width = 2000, 12, 20
    images = np.broadcast_to((np.arange(num) % 2)[:, None, None, None], (num, height, width, 1))
    part = sections.Cutmix(name="cutmix")
    batch = make_augment([part], seed=1, image_shape=(height, width, 1))(
        Batch(
            images=tf.constant(images.astype(np.uint8)),
            targets=tf.one_hot(np.arange(num) % 2, 2),
            examples=tf.range(num, dtype=tf.int64),
            epoch=tf.constant(0, tf.int64),
        )
    )
    shares = batch.images.numpy().mean(axis=(1, 2, 3))
    np.testing.assert_allclose(batch.targets.numpy()[:, 1], shares, atol=1e-6)
    # The weights that were drawn have a mean of 0.5; clipping leaves more of the own image.
    own = np.where(np.arange(num) % 2, shares, 1 - shares)
    assert own.mean() > 0.6
