"""Logits of several views of an image are averaged."""

import keras
import numpy as np
import pytest

from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((5, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 5, 4, 1)).astype(np.float32)


def shifted(images, rows, columns):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    return padded[:, 1 + rows : 6 + rows, 1 + columns : 5 + columns]


def test_views(model, images):
    def logits(of):
        return np.asarray(model(of))

    mirrored = images[:, :, ::-1]
    flip = (logits(images) + logits(mirrored)) / 2
    moved = [logits(shifted(view, by, by)) for view in (images, mirrored) for by in (-1, 1)]
    expected = {
        "one": logits(images),
        "flip": flip,
        "flip_and_shift": (flip + np.mean(moved, 0)) / 2,
    }
    for views, wanted in expected.items():
        np.testing.assert_allclose(make_predict(model, views)(images), wanted, rtol=1e-5, atol=1e-6)
