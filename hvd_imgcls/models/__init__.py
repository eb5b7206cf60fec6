"""The models by their names in a pipeline file.

All of them take images `[batch, height, width, channels]` with pixels 0 .. 255 and
return float32 logits `[batch, num_classes]`.
"""

from __future__ import annotations

import keras

from hvd_imgcls.config.models import Model
from hvd_imgcls.config.normalization import Normalization, UnitRange
from hvd_imgcls.models.given_model import accept_given_model
from hvd_imgcls.models.normalization import make_normalization
from hvd_imgcls.models.table import MODELS, no_model_given

__all__ = ["MODELS", "accept_given_model", "build_model", "no_model_given"]


def build_model(
    config: Model,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalization: Normalization | None = None,
) -> keras.Model:
    """Builds the network of a configuration.

    Args:
        config: The `model` section.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalization: The `data.normalization` section; pixels divided by 255 when None.
            Ignored by models that normalise pixels themselves.

    Returns:
        A model from images `[batch, height, width, channels]` to logits
        `[batch, num_classes]`, with new weights from Keras's seed or weights from a file.

    Raises:
        ConfigError: If the model cannot be built for such images.
        CheckpointError: If it comes from a file that does not fit.
    """
    normalize = make_normalization(normalization or UnitRange(), image_shape[2])
    return MODELS[config.name].build(config, image_shape, num_classes, normalize)
