"""Models from files say which images they take; those for others than squares are refused."""

import keras
import pytest

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.workflows.trained_model.loading import load_model_of_any_images


def saved(path, shape):
    layers = keras.layers
    keras.Sequential(
        [keras.Input(shape), layers.Conv2D(2, 1), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    ).save(path)
    return path


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_model_says_which_images_it_takes(tmp_path, num_channels):
    path = saved(tmp_path / "model.keras", (6, 6, num_channels))
    assert load_model_of_any_images(path, 2)[1] == (6, 6, num_channels)


@pytest.mark.parametrize("shape", [(6, 8, 3), (None, None, 3), (6, 6, 4)], ids=str)
def test_a_model_of_other_images_is_refused_by_name(tmp_path, shape):
    path = saved(tmp_path / "model.keras", shape)
    with pytest.raises(CheckpointError, match="square images") as refusal:
        load_model_of_any_images(path, 2)
    assert str(path) in str(refusal.value)


def test_a_model_of_other_classes_is_refused(tmp_path):
    path = saved(tmp_path / "model.keras", (6, 6, 3))
    with pytest.raises(CheckpointError, match=r"\(None, 5\)"):
        load_model_of_any_images(path, 5)
