import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import Cae
from hvd_imgcls.data.sources.digits import Digits
from hvd_imgcls.models.autoencoder import build_autoencoder, build_cae
from tests.unit.models.precision import precision

CONFIG = Cae(name="cae", num_filters=(8, 16))


def test_reconstruction_of_digits_gets_better():
    keras.utils.set_random_seed(0)
    images = Digits(0.2, 0).images("train")[:64]
    autoencoder = build_autoencoder(CONFIG, (8, 8, 1)).whole
    autoencoder.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    losses = autoencoder.fit(images, images / 255, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.35 * losses[0]
    # Better than the mean image can do.
    assert losses[-1] < (images / 255).var(axis=0).mean()


@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 9, 3), (1, 5, 1), (32, 32, 3)])
def test_reconstruction_has_the_shape_of_the_image_whatever_that_is(shape):
    with precision("mixed_bfloat16"):
        autoencoder = build_autoencoder(Cae(name="cae", num_filters=(2, 3, 4)), shape)
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    reconstructed = np.asarray(autoencoder.whole(images))
    assert (reconstructed.shape, reconstructed.dtype) == (images.shape, np.float32)
    assert reconstructed.min() >= 0
    assert reconstructed.max() <= 1
    halved = tuple(-(-size // 8) for size in shape[:2])
    assert autoencoder.encoder.output_shape == (None, *halved, 4)


def test_classifier_shares_the_encoder_of_an_autoencoder():
    autoencoder = build_autoencoder(CONFIG, (8, 8, 1))
    classifier = build_cae(CONFIG, (8, 8, 1), 10, encoder=autoencoder.encoder)
    assert classifier.get_layer("encoder") is autoencoder.whole.get_layer("encoder")
    shared = {id(v) for v in classifier.variables} & {id(v) for v in autoencoder.whole.variables}
    assert len(shared) == len(autoencoder.encoder.variables) == 10
    autoencoder.encoder.get_layer("encoder_1_bn").beta.assign(np.ones(8, np.float32))
    before = np.asarray(classifier(np.zeros([1, 8, 8, 1], np.uint8)))
    autoencoder.encoder.get_layer("encoder_1_bn").beta.assign(np.zeros(8, np.float32))
    assert np.abs(classifier(np.zeros([1, 8, 8, 1], np.uint8)) - before).max() > 1e-5


def test_weights_of_a_saved_autoencoder_go_over_by_the_name_of_the_encoder(tmp_path):
    build_autoencoder(CONFIG, (8, 8, 1)).whole.save(tmp_path / "autoencoder.keras")
    saved = keras.saving.load_model(tmp_path / "autoencoder.keras").get_layer("encoder")
    classifier = build_cae(CONFIG, (8, 8, 1), 10)
    classifier.get_layer("encoder").set_weights(saved.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(classifier.get_layer("encoder")(images), saved(images))


@pytest.mark.parametrize(("features", "num_features"), [("average", 16), ("flatten", 2 * 2 * 16)])
def test_features_are_the_mean_of_the_code_or_all_of_it(features, num_features):
    config = Cae(name="cae", num_filters=(8, 16), features=features)
    model = build_cae(config, (8, 8, 1), 10)
    assert model.get_layer("logits").kernel.shape == (num_features, 10)
