"""The layer that normalises pixels, and the statistics that it takes."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import SmallCnn
from hvd_imgcls.config.normalization import GivenStatistics, ImageNetStatistics, UnitRange
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.models import build_model
from hvd_imgcls.models.normalization import make_normalization
from hvd_imgcls.workflows.statistics import statistics_of

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 6, 3), dtype=np.uint8)


def counts_of(pixels):
    return np.array([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(3)])


def test_statistics_are_those_of_numpy():
    statistics = statistics_of(counts_of(PIXELS), 5)
    flat = PIXELS.reshape(-1, 3) / 255
    np.testing.assert_allclose(statistics.mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.standard_deviation, flat.std(axis=0), rtol=1e-12)


def test_images_with_their_own_statistics_have_mean_0_and_deviation_1():
    statistics = statistics_of(counts_of(PIXELS), 5)
    given = GivenStatistics(
        name="statistics",
        mean=statistics.mean,
        standard_deviation=statistics.standard_deviation,
    )
    normalized = np.asarray(make_normalization(given, 3)(PIXELS)).reshape(-1, 3)
    np.testing.assert_allclose(normalized.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std(axis=0), 1, rtol=1e-5)


def test_imagenet_is_what_keras_applications_do_in_torch_mode():
    ours = make_normalization(ImageNetStatistics(name="imagenet"), 3)(PIXELS)
    theirs = keras.applications.imagenet_utils.preprocess_input(
        PIXELS.astype(np.float32), data_format="channels_last", mode="torch"
    )
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-4, atol=1e-5)


def test_unit_range_is_0_to_1():
    normalized = np.asarray(make_normalization(UnitRange(), 1)(np.array([0, 51, 255], np.uint8)))
    np.testing.assert_allclose(normalized, [0, 0.2, 1], rtol=1e-6)


def test_a_saved_model_normalises_alike(tmp_path):
    config = SmallCnn(name="small_cnn", num_filters=(2, 2), num_hidden_units=4)
    model = build_model(config, (8, 8, 3), 2, ImageNetStatistics(name="imagenet"))
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_statistics_of_another_number_of_channels_are_refused():
    with pytest.raises(ConfigError, match=r"data.normalization: got 'imagenet for 3 channels'"):
        make_normalization(ImageNetStatistics(name="imagenet"), 1)
