"""The loss of an autoencoder."""

from __future__ import annotations

import keras
import tensorflow as tf


class PixelError(keras.losses.Loss):
    """Mean squared error of the pixels, one value per image.

    Keras's own mean squared error returns one value per row of pixels, which does not work with
    sample weights.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every image, `[batch]`; takes `[batch, height, width, channels]`."""
        return tf.reduce_mean(tf.math.squared_difference(y_pred, y_true), axis=[1, 2, 3])
