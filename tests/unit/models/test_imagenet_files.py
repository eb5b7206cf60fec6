"""ImageNet weights by name: which file is asked for."""

import inspect
import sys
import warnings

import keras
import pytest
from keras.src.backend.config import keras_home
from keras.src.utils import file_utils

from hvd_imgcls.config.models.imagenet_files import has_top, keras_models_folder
from hvd_imgcls.models.applications.imagenet_sources import PublishedFile, published_file
from hvd_imgcls.models.applications.known import APPLICATIONS


class FoundError(Exception):
    """Carries what Keras would download."""


def what_keras_downloads(monkeypatch, name, size, num_classes):
    def get_file(fname, origin, cache_subdir, file_hash=None):
        assert cache_subdir == "models"
        raise FoundError(fname, origin, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    keys = {"include_top": has_top(name, num_classes), "input_shape": (size, size, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MobileNet loads the weights of size 224
        with pytest.raises(FoundError) as found:
            getattr(keras.applications, name)(weights="imagenet", **keys)
    keras.utils.clear_session()
    return PublishedFile(
        name=found.value.args[0], url=found.value.args[1], hash=found.value.args[2]
    )


@pytest.mark.parametrize(
    ("name", "size", "num_classes"),
    [
        ("MobileNet", 64, 5),
        ("MobileNet", 128, 5),
        ("MobileNet", 192, 1000),
        ("MobileNetV2", 96, 5),
        ("MobileNetV3Small", 224, 5),
        ("ResNet50V2", 64, 5),
    ],
)
def test_file_is_the_one_that_keras_downloads(monkeypatch, name, size, num_classes):
    expected = what_keras_downloads(monkeypatch, name, size, num_classes)
    assert published_file(name, (size, size), num_classes) == expected


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [5, 1000])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_file_of_every_model_is_the_one_that_keras_downloads(monkeypatch, name, num_classes):
    size = APPLICATIONS[name].image_size
    expected = what_keras_downloads(monkeypatch, name, size, num_classes)
    assert published_file(name, (size, size), num_classes) == expected


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_model_has_files_with_the_hashes_in_the_source_of_keras(name):
    source = inspect.getsource(sys.modules[getattr(keras.applications, name).__module__])
    source += inspect.getsource(sys.modules["keras.src.applications.resnet"])
    for num_classes in (5, 1000):
        file = published_file(name, (224, 224), num_classes)
        assert file.url.startswith("https://storage.googleapis.com/")
        assert file.url.endswith(".h5")
        assert (file.hash is None) == (name in ("MobileNet", "MobileNetV2"))
        assert file.hash is None or f'"{file.hash}"' in source


def test_image_that_is_not_square_takes_the_weights_for_224_pixels():
    assert "_224_" in published_file("MobileNet", (128, 160), 5).name
    assert "_224_" in published_file("MobileNetV2", (96, 128), 5).name


def test_folder_is_that_of_keras(monkeypatch, tmp_path):
    assert str(keras_models_folder().parent) == keras_home()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_models_folder() == tmp_path / "models"
