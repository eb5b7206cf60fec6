"""What training minimises, by the name that a pipeline file uses."""

from __future__ import annotations

import keras

from hvd_imgcls.config.losses import Loss


def build_loss(config: Loss) -> keras.losses.Loss:
    """Returns the loss between targets and logits, both `[batch, num_classes]`.

    One of Keras's own, so that a saved model loads without this package.
    """
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.label_smoothing
    )
