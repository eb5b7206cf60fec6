import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.config.data.sources import DigitsSource
from hvd_imgcls.data import open_source
from hvd_imgcls.data.order.splits import SPLITS
from hvd_imgcls.data.sources.digits import Digits


@settings(deadline=None)
@given(fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_splits_for_any_fraction_are_complete_and_stratified(fraction, seed):
    digits = Digits(fraction, seed)
    parts = {split: (digits.images(split), digits.labels(split)) for split in SPLITS}
    for split, (images, labels) in parts.items():
        assert len(images) == len(labels) == digits.num_examples(split)
    assert sum(len(labels) for _, labels in parts.values()) == 1797
    held_out = np.bincount(parts["held_out"][1], minlength=10)
    everything = held_out + np.bincount(parts["train"][1], minlength=10)
    # At least one of every class on either side.
    wanted = np.clip(everything * fraction, 1, everything - 1)
    assert (np.abs(held_out - wanted) <= 0.5).all()


def test_splits_of_one_seed_are_disjoint_and_repeatable():
    images = Digits(0.2, 0).images("held_out")
    again = Digits(0.2, 0).images("held_out")
    other = Digits(0.2, 1).images("held_out")
    train = Digits(0.2, 0).images("train")
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, other)
    # The scans differ from one another, so equal pixels would be the same scan.
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in train}


def test_images_are_scaled_to_bytes():
    images, labels = Digits(0.2, 0).images("train"), Digits(0.2, 0).labels("train")
    assert images.shape == (1438, 8, 8, 1)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert (images.min(), images.max()) == (0, 255)


def test_open_source_of_a_configuration_is_what_it_names():
    source = open_source(DigitsSource(name="digits", held_out_fraction=0.5))
    assert source.num_examples("held_out") == pytest.approx(1797 / 2, abs=5)
    assert len(source.class_names) == 10
