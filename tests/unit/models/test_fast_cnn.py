"""The network for few epochs: its beginning, its whitening."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import FastCnn
from hvd_imgcls.config.normalization import GivenStatistics
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.models import build_model
from hvd_imgcls.models.fast_cnn import whiten

SMALL = FastCnn(name="fast_cnn", num_filters=(24, 26, 26))
STATISTICS = GivenStatistics(
    name="statistics", mean=(0.4, 0.5, 0.6), standard_deviation=(0.2, 0.3, 0.2)
)


@pytest.fixture(scope="module")
def images():
    """Images of 24 by 24 whose neighbouring pixels are alike, as those of photographs."""
    coarse = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3))
    fine = np.random.default_rng(1).integers(-20, 20, (64, 24, 24, 3))
    return np.clip(coarse.repeat(2, 1).repeat(2, 2) + fine, 0, 255).astype(np.uint8)


@pytest.fixture
def model(images):
    keras.utils.set_random_seed(1)
    model = build_model(SMALL, images.shape[1:], 5, STATISTICS)
    whiten(model, images)
    return model


def test_whitened_patches_are_uncorrelated_and_of_variance_1(model, images):
    layer = model.get_layer("whitening")
    pixels = keras.Model(model.input, layer.input)(images)
    filtered = keras.ops.convert_to_numpy(keras.ops.conv(pixels, layer.kernel))
    half = filtered[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(filtered[..., 12:].reshape(-1, 12), -half, atol=1e-4)
    np.testing.assert_allclose(half.T @ half / len(half), np.eye(12), atol=0.05)


def test_convolutions_begin_as_the_identity(model):
    kernel = keras.ops.convert_to_numpy(model.get_layer("block_2_2_conv").kernel)
    features = np.random.default_rng(0).normal(size=(1, 5, 5, 26)).astype(np.float32)
    np.testing.assert_array_equal(keras.ops.conv(features, kernel, padding="same"), features)
    first = keras.ops.convert_to_numpy(model.get_layer("block_2_1_conv").kernel)
    assert np.abs(first[..., 24:]).min() > 0, "filters beyond the channels are random"


def test_whitening_is_not_trained_and_logits_are_float32(model):
    names = [variable.path for variable in model.trainable_variables]
    assert "whitening/kernel" not in names
    assert "whitening/bias" in names
    assert not [name for name in names if name.endswith("gamma")]
    assert model.output_shape == (None, 5)
    assert model.output.dtype == "float32"


def test_saved_file_is_plain_keras_and_keeps_the_whitening(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images[:2]), model(images[:2]), rtol=1e-5, atol=1e-6)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match="at least 24 x 24"):
        build_model(SMALL, (16, 16, 3), 5)
