"""The shape of the network's input images."""

from __future__ import annotations

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.sources.base import ArraySource, ImageSource
from hvd_imgcls.errors import ConfigError


def image_shape_of(source: ImageSource, config: RunConfig) -> tuple[int, int, int]:
    """Returns height, width and channels of the network's input images.

    Raises:
        ConfigError: If `data.image_size` is missing, or differs from the only possible size.
    """
    size = config.data.image_size
    if isinstance(source, ArraySource):
        shape = source.image_shape
        if size not in (None, shape[0]):
            raise ConfigError(
                "data.image_size",
                got=size,
                expected=f"nothing, since all images have {shape[0]} by {shape[1]} pixels",
                fix="omit it",
            )
        return shape
    if size is None:
        raise ConfigError(
            "data.image_size",
            got=None,
            expected="height and width of the network's input images, in pixels",
            fix="for example, set `image_size: 224`",
        )
    return size, size, config.data.num_channels
