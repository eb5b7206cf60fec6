"""The models by the name that a pipeline file uses."""

import keras

from hvd_imgcls.config.models import Model
from hvd_imgcls.config.normalization import Normalization, UnitRange
from hvd_imgcls.models.normalization import make_normalization
from hvd_imgcls.models.small_cnn import build_small_cnn

# Each takes its section of the configuration, the image shape, the number of classes and the
# layer that normalises pixels.
BUILDERS = {"small_cnn": build_small_cnn}


def build_model(
    config: Model,
    image_shape: tuple[int, int, int],
    num_classes: int,
    normalization: Normalization | None = None,
) -> keras.Model:
    """Returns the network that a configuration names.

    Args:
        config: The `model` section.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        normalization: The `data.normalization` section; pixels divided by 255 when None.

    Returns:
        A model from images `[batch, height, width, channels]` to logits
        `[batch, num_classes]`, with new weights from Keras's seed.
    """
    normalize = make_normalization(normalization or UnitRange(), image_shape[2])
    return BUILDERS[config.name](config, image_shape, num_classes, normalize)
