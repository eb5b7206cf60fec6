"""Test-time augmentation: averages the logits of several views of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Views = list[tuple[float, Callable[[tf.Tensor], tf.Tensor]]]


def make_predict(model: keras.Model, views: str) -> Any:
    """Returns a function from images `[batch, height, width, channels]` to logits, float32.

    Args:
        model: From images to logits `[batch, num_classes]`.
        views: `one`, `flip` or `flip_and_shift`, as in `evaluation.views`.
    """

    @tf.function
    def predict(images: tf.Tensor) -> tf.Tensor:
        return logits_of_views(model, images, views)

    return predict


def logits_of_views(model: keras.Model, images: tf.Tensor, views: str) -> tf.Tensor:
    """Returns the mean logits over the views of an image, `[batch, num_classes]`, float32.

    Args:
        model: From images to logits.
        images: `[batch, height, width, channels]`.
        views: `one`, `flip` or `flip_and_shift`.
    """
    logits = [
        weight * tf.cast(model(view(images), training=False), tf.float32)
        for weight, view in _VIEWS[views]
    ]
    return tf.add_n(logits)


def _same(images: tf.Tensor) -> tf.Tensor:
    return images


def _mirror(images: tf.Tensor) -> tf.Tensor:
    return tf.reverse(images, [2])


def _shift(images: tf.Tensor, first: int) -> tf.Tensor:
    """Shifts images by one pixel: up and left if `first` is 2, down and right if 0.

    The border is filled by reflection.
    """
    height, width = images.shape[1:3]
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    return padded[:, first : first + height, first : first + width]


_VIEWS: dict[str, Views] = {
    "one": [(1.0, _same)],
    "flip": [(0.5, _same), (0.5, _mirror)],
    "flip_and_shift": [
        (0.25, _same),
        (0.25, _mirror),
        (0.125, lambda images: _shift(images, 0)),
        (0.125, lambda images: _shift(images, 2)),
        (0.125, lambda images: _shift(_mirror(images), 0)),
        (0.125, lambda images: _shift(_mirror(images), 2)),
    ],
}
