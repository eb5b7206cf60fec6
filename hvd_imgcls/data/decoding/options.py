"""How image files become the images that the network receives."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls.config import DEFAULT_MAX_PIXELS, Resize, RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingOptions:
    """How image files become the images that the network receives.

    Attributes:
        num_channels: 1 or 3.
        max_pixels: Larger images are rejected by their header.
        resize: Method of resizing.
        is_upright: Whether the EXIF orientation is applied.
        is_portable: Whether the graph must run without Python, so that images that TensorFlow
            cannot decode are rejected.
    """

    num_channels: int = 3
    max_pixels: int = DEFAULT_MAX_PIXELS
    resize: Resize = "antialias"
    is_upright: bool = True
    is_portable: bool = False


def options_of(
    config: RunConfig, image_shape: tuple[int, int, int], *, is_portable: bool = False
) -> DecodingOptions:
    """Returns the options of a run.

    Args:
        config: Its configuration.
        image_shape: Height, width and channels of the network's input images.
        is_portable: See `DecodingOptions`.
    """
    return DecodingOptions(
        num_channels=image_shape[2],
        max_pixels=config.data.max_pixels,
        resize=config.data.resize,
        is_upright=config.data.exif_orientation == "apply",
        is_portable=is_portable,
    )
