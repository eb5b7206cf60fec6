import re
import typing

import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import KerasApplication
from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.models import build_model
from hvd_imgcls.models.applications.known import APPLICATIONS, preprocess
from hvd_imgcls.models.applications.weights_files import correct_efficientnet
from tests.unit.models.precision import precision

SHAPE = (32, 32, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)


def section(application, **keys):
    return KerasApplication(name="keras_application", application=application, **keys)


def test_table_holds_every_model_of_keras():
    found = {name for name in dir(keras.applications) if name[0].isupper()}
    assert found == set(APPLICATIONS) == set(typing.get_args(ApplicationName))


def module_of(name):
    if name.startswith("MobileNetV3"):  # Keras has its classes elsewhere
        return keras.applications.mobilenet_v3
    modules = [part for part in vars(keras.applications).values() if hasattr(part, name)]
    return next(part for part in modules if hasattr(part, "preprocess_input"))


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_are_those_of_the_preprocess_input_of_the_model(name):
    images = keras.Input(SHAPE)
    ours = keras.Model(images, preprocess(images, APPLICATIONS[name].pixels))(PIXELS)
    theirs = module_of(name).preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "VGG16"])
def test_model_is_the_one_of_keras_on_its_pixels_with_our_head(name, tmp_path):
    keras.utils.set_random_seed(1)
    model = build_model(section(name), SHAPE, 5)
    theirs = getattr(keras.applications, name)(
        weights=None, input_shape=SHAPE, classes=5, classifier_activation=None
    )
    assert model.count_params() == theirs.count_params()
    theirs.set_weights(
        [w.reshape(v.shape) for w, v in zip(model.get_weights(), theirs.weights, strict=True)]
    )
    pixels = module_of(name).preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(model(PIXELS), theirs(pixels), rtol=1e-3, atol=1e-4)
    assert "hvd_imgcls" not in model.to_json()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))


@pytest.mark.parametrize(("dropout", "rates"), [(None, [0.001]), (0.0, []), (0.5, [0.5])])
def test_dropout_is_the_models_own_unless_it_is_given(dropout, rates):
    with precision("mixed_bfloat16"):
        model = build_model(section("MobileNet", dropout=dropout), SHAPE, 5)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == rates
    assert model(PIXELS).dtype == "float32"


@pytest.mark.parametrize(
    ("name", "shape", "key"),
    [("MobileNet", (8, 8, 3), "data.image_size"), ("VGG16", (32, 32, 1), "model.application")],
)
def test_images_that_the_model_cannot_take_are_refused(name, shape, key):
    with pytest.raises(ConfigError, match=name) as raised:
        build_model(section(name), shape, 5)
    assert raised.value.key == key


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """MobileNet for 7 classes with random statistics, in every kind of file."""
    folder = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(3)
    whole = keras.applications.MobileNet(weights=None, input_shape=SHAPE, classes=7)
    for variable in whole.weights:
        if "moving" in variable.path:
            variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
    bare = keras.applications.MobileNet(weights=None, input_shape=SHAPE, include_top=False)
    bare.set_weights(whole.get_weights()[: len(bare.weights)])
    for name, model in (("whole", whole), ("notop", bare)):
        model.save_weights(folder / f"{name}.weights.h5")
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
    return folder, whole


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
@pytest.mark.parametrize(
    ("name", "num_classes"),
    [pytest.param("whole", 5, marks=pytest.mark.slow), ("whole", 7), ("notop", 5)],
)
def test_weights_come_from_any_file_of_keras(saved, name, suffix, num_classes):
    folder, whole = saved
    config = section("MobileNet", weights=str(folder / f"{name}{suffix}"))
    model = build_model(config, SHAPE, num_classes)
    for ours, theirs in zip(model.weights[:-2], whole.weights[:-2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    if num_classes == 7:
        probabilities = keras.ops.softmax(model(PIXELS))
        np.testing.assert_allclose(probabilities, whole(PIXELS / 127.5 - 1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("application", "name", "said"),
    [
        ("MobileNetV2", "whole.weights.h5", "not the weights of MobileNetV2"),
        ("MobileNetV2", "whole.keras", "not the weights of MobileNetV2"),
        ("MobileNetV2", "whole.h5", "layers with weights, but MobileNetV2 has"),
        ("VGG16", "notop.weights.h5", r"block1_conv1/kernel \(3, 3, 3, 64\)"),
        ("MobileNet", "absent.weights.h5", "no such file"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(saved, application, name, said):
    path = saved[0] / name
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{said}"):
        build_model(section(application, weights=str(path)), SHAPE, 5)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
@pytest.mark.parametrize("content", [b"", b"no weights", "cut"])
def test_damaged_weights_are_refused_by_name(saved, suffix, content, tmp_path):
    if content == "cut":
        content = (saved[0] / f"whole{suffix}").read_bytes()[:5000]
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        build_model(section("MobileNet", weights=str(path)), SHAPE, 5)


def test_weights_of_a_larger_model_whose_beginning_fits_are_refused(saved, tmp_path):
    whole = keras.models.clone_model(saved[1])
    more = keras.layers.Dense(7)(keras.layers.Dense(7)(whole.outputs[0]))
    keras.Model(whole.inputs, more).save_weights(tmp_path / "more.weights.h5")
    with pytest.raises(CheckpointError, match="of which only"):
        build_model(section("MobileNet", weights=str(tmp_path / "more.weights.h5")), SHAPE, 7)


def test_published_efficientnet_divides_by_the_deviation_of_imagenet():
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    model = keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Normalization()])
    model.layers[0].set_weights([np.float32([0.485, 0.456, 0.406]), deviation, np.int32(0)])
    correct_efficientnet(model)
    given = np.float32([[[[0.1, 0.5, 0.9]]]])
    expected = (given - [0.485, 0.456, 0.406]) / deviation
    np.testing.assert_allclose(model(given), expected, rtol=1e-4)
    correct_efficientnet(model)
    np.testing.assert_allclose(model(given), expected, rtol=1e-4)
