import numpy as np
import pytest

from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.data.augment.mixing import beta_quantiles, partners

from .batches import augmented, batch_of, random_batch


def partner_order(num):
    return [position ^ 1 for position in range(num)]


def test_partners_are_neighbours():
    images = random_batch(6).images
    np.testing.assert_array_equal(partners(images), images.numpy()[partner_order(6)])


def weights_of(batch, targets):
    """Returns what is left of the own target; partners have other classes."""
    own = batch.targets.numpy().argmax(axis=1)
    return targets[np.arange(len(own)), own].astype(np.float64)


def test_mixup_blends_pixels_by_the_weight_of_the_targets():
    batch = random_batch(100)
    images, targets = augmented(batch, Mixup(name="mixup"))
    weights = weights_of(batch, targets)
    own = batch.images.numpy().astype(np.float64)
    weight = weights[:, None, None, None]
    exact = weight * own + (1 - weight) * own[partner_order(100)]
    # Weights are multiples of 2**-16, so the sum in float64 is exact: only rounding is left.
    np.testing.assert_array_equal(images, np.rint(exact))
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert len(set(weights)) > 90


def test_mixup_blends_targets_with_those_of_the_partner():
    batch = random_batch(20)
    _, targets = augmented(batch, Mixup(name="mixup"))
    weight = weights_of(batch, targets)[:, None]
    own = batch.targets.numpy()
    expected = weight * own + (1 - weight) * own[partner_order(20)]
    np.testing.assert_allclose(targets, expected, atol=1e-6)


def test_mixup_weights_are_those_of_the_beta_distribution():
    batch = batch_of(np.zeros((4000, 1, 1, 1), np.uint8))
    _, targets = augmented(batch, Mixup(name="mixup", alpha=0.2))
    weights = weights_of(batch, targets)
    # Variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(1 / (4 * 1.4), rel=0.05)


def test_mixing_with_probability_changes_that_part_of_the_examples():
    batch = random_batch(400)
    images, targets = augmented(batch, Mixup(name="mixup", probability=0.25))
    changed = weights_of(batch, targets) < 1
    assert 60 < changed.sum() < 140
    np.testing.assert_array_equal(images[~changed], batch.images.numpy()[~changed])


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 100.0])
def test_beta_quantiles_rise_within_0_and_1_and_are_symmetric(alpha):
    quantiles = beta_quantiles(alpha)
    assert (np.diff(quantiles) >= 0).all()
    assert 0 <= quantiles[0] <= quantiles[-1] <= 1
    np.testing.assert_allclose(quantiles, 1 - quantiles[::-1], atol=1e-9)
    assert quantiles.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)


def test_cutmix_puts_in_a_rectangle_of_the_partner_and_counts_its_pixels():
    num, height, width = 200, 9, 12
    # Every image has a value of its own.
    own = np.tile(np.arange(num, dtype=np.uint8)[:, None, None, None], (1, height, width, 1))
    batch = batch_of(own)
    images, targets = augmented(batch, Cutmix(name="cutmix"))
    pasted = images != own
    np.testing.assert_array_equal(images[pasted], own[partner_order(num)][pasted])
    share = pasted.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(weights_of(batch, targets), 1 - share, atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    for mask in pasted[..., 0]:
        np.testing.assert_array_equal(mask, mask.any(axis=1)[:, None] & mask.any(axis=0))
    assert (share == 0).sum() < 40
    assert share.max() > 0.7
