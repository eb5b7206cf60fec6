import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import SmallCnn
from hvd_imgcls.models import build_model

CONFIG = SmallCnn(name="small_cnn", num_filters=(4, 6), num_hidden_units=5)


@pytest.fixture
def precision(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"], indirect=True)
def test_small_cnn_under_any_precision_gives_float32_logits(precision):
    model = build_model(CONFIG, (8, 8, 1), 10)
    logits = model(np.zeros([3, 8, 8, 1], np.uint8))
    assert (logits.shape, logits.dtype) == ((3, 10), "float32")
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


def test_small_cnn_has_the_sizes_of_its_configuration():
    shapes = [tuple(weight.shape) for weight in build_model(CONFIG, (8, 8, 3), 7).weights]
    assert shapes[0::2] == [(3, 3, 3, 4), (3, 3, 4, 6), (4 * 4 * 6, 5), (5, 7)]


def test_small_cnn_of_an_example_does_not_depend_on_its_batch():
    model = build_model(CONFIG, (8, 8, 1), 10)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    together = model(images, training=True).numpy()
    apart = np.concatenate([model(images[n : n + 1]).numpy() for n in range(6)])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_saved_small_cnn_is_plain_keras(tmp_path):
    model = build_model(CONFIG, (8, 8, 1), 10)
    model.save(tmp_path / "model.keras")
    assert "hvd_imgcls" not in model.to_json()
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.ones([2, 8, 8, 1], np.uint8)
    np.testing.assert_array_equal(loaded(images), model(images))
