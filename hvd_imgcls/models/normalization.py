"""The first layer of a network, which normalises pixels in 0 to 255.

It is part of the model, so that a saved model takes raw pixels, and images are transferred to
the device as bytes.
"""

from __future__ import annotations

import keras

from hvd_imgcls.config.normalization import GivenStatistics, ImageNetStatistics, Normalization
from hvd_imgcls.errors import ConfigError

# torchvision's values, which originate from models trained in Caffe and Torch.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STANDARD_DEVIATION = (0.229, 0.224, 0.225)
MAX_PIXEL = 255


def make_normalization(config: Normalization, num_channels: int) -> keras.layers.Layer:
    """Returns a layer from pixels 0 .. 255 to `(pixel / 255 - mean) / standard deviation`.

    Args:
        config: The `data.normalization` section.
        num_channels: Channels of the images.

    Raises:
        ConfigError: If its statistics are for another number of channels.
    """
    if isinstance(config, GivenStatistics):
        mean, deviation = config.mean, config.standard_deviation
    elif isinstance(config, ImageNetStatistics):
        mean, deviation = IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION
    else:
        return keras.layers.Rescaling(1 / MAX_PIXEL, name="rescaling")
    if len(mean) != num_channels:
        raise ConfigError(
            "data.normalization",
            got=f"{config.name} for {len(mean)} channels",
            expected=f"statistics for {num_channels} channels",
            fix="run `hvd-imgcls statistics` on this pipeline, or change data.num_channels",
        )
    return keras.layers.Rescaling(
        [1 / (MAX_PIXEL * d) for d in deviation],
        [-m / d for m, d in zip(mean, deviation, strict=True)],
        name="rescaling",
    )
