import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import Vit
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.models import build_model

CONFIG = Vit(name="vit", patch_size=2, width=8, depth=1, num_heads=2)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 2), dtype=np.uint8)


def test_patches_are_squares_of_the_image_in_rows():
    model = build_model(CONFIG, (4, 6, 2), 3)
    patches = keras.Model(model.inputs[0], model.get_layer("patches").output)(IMAGES)
    assert patches.shape == (3, 6, 8)
    expected = [
        IMAGES[:, row : row + 2, column : column + 2].reshape(3, 8) / 255
        for row in (0, 2)
        for column in (0, 2, 4)
    ]
    np.testing.assert_allclose(patches, np.stack(expected, axis=1), rtol=1e-6)


def test_order_of_the_patches_matters_by_the_learned_positions_alone():
    model = build_model(CONFIG, (4, 6, 2), 3)
    turned = IMAGES[:, [2, 3, 0, 1]]
    assert np.abs(model(IMAGES) - model(turned)).max() > 1e-5
    embedding = model.get_layer("embedding")
    assert np.asarray(embedding.bias).std() == pytest.approx(0.02, rel=0.5)
    embedding.bias.assign(np.zeros(embedding.bias.shape, np.float32))
    np.testing.assert_allclose(model(IMAGES), model(turned), atol=1e-5)


def test_images_that_are_no_whole_patches_are_refused():
    with pytest.raises(ConfigError, match=r"model\.patch_size: got 4.*\(6 and 8 pixels\)"):
        build_model(Vit(name="vit"), (6, 8, 3), 3)
