"""What an autoencoder minimises."""

from __future__ import annotations

import keras
import tensorflow as tf


class PixelError(keras.losses.Loss):
    """Mean squared difference of the pixels, one number per image.

    Keras's own mean squared error gives one per row of pixels, which weights of images do not
    go with.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every image, `[batch]`; takes `[batch, height, width, channels]`."""
        return tf.reduce_mean(tf.math.squared_difference(y_pred, y_true), axis=[1, 2, 3])
