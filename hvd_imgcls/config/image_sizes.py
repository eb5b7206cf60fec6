"""Checks that need the size of the network's input images, before anything is built."""

from __future__ import annotations

from hvd_imgcls.config.augmentations import Cutout, RandomCrop
from hvd_imgcls.config.models import FastCnn, Model, SmallCnn, Vit
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError

_FAST_CNN_SIZE, _SMALL_CNN_SIZE, _SHIFT_SIZE = 24, 2, 2


def require_image_size(config: RunConfig, image_shape: tuple[int, int, int]) -> None:
    """Raises an error if the images are too small for the model or for what is done with them.

    Args:
        config: The configuration.
        image_shape: Height, width and channels.

    Raises:
        ConfigError: Naming the key.
    """
    require_size_for_model(config.model, image_shape)
    require_size_for_views(config.evaluation.views, image_shape)
    side = min(image_shape[:2])
    for index, part in enumerate(config.augment):
        if isinstance(part, RandomCrop) and part.padding >= side:
            fix = f"use at most {max(1, side // 4)}" if side > 1 else "remove random_crop"
            key, value, most = "padding", part.padding, "less than"
        elif isinstance(part, Cutout) and part.size > side:
            fix = f"use {max(1, side // 2)}, half of it"
            key, value, most = "size", part.size, "at most"
        else:
            continue
        raise ConfigError(
            f"augment.{index}.{key}",
            got=value,
            expected=f"{most} the {image_shape[0]} x {image_shape[1]} pixels of an image",
            fix=fix,
        )


def require_size_for_model(model: Model, image_shape: tuple[int, int, int]) -> None:
    """Raises an error if one of our networks cannot be built for such images.

    Args:
        model: The `model` section.
        image_shape: Height, width and channels.

    Raises:
        ConfigError: If the images are too small, or no whole number of patches.
    """
    height, width = image_shape[:2]
    if isinstance(model, Vit) and (height % model.patch_size or width % model.patch_size):
        raise ConfigError(
            "model.patch_size",
            got=model.patch_size,
            expected=f"a divisor of the images' height and width ({height} and {width} pixels)",
            fix="change it, or data.image_size",
        )
    least = {FastCnn: _FAST_CNN_SIZE, SmallCnn: _SMALL_CNN_SIZE}.get(type(model), 1)
    if min(height, width) < least:
        raise ConfigError(
            "model.name",
            got=f"{model.name} for images of {height} x {width} pixels",
            expected=f"images of at least {least} x {least}",
            fix="increase data.image_size, or choose another model: hvd-imgcls models",
        )


def require_size_for_views(views: str, image_shape: tuple[int, int, int]) -> None:
    """Raises an error if images are too small to be shifted by a pixel.

    Args:
        views: `evaluation.views`.
        image_shape: Height, width and channels.

    Raises:
        ConfigError: If they have a single row or column.
    """
    if views == "flip_and_shift" and min(image_shape[:2]) < _SHIFT_SIZE:
        raise ConfigError(
            "evaluation.views",
            got=f"{views} for images of {image_shape[0]} x {image_shape[1]} pixels",
            expected=f"images of at least {_SHIFT_SIZE} x {_SHIFT_SIZE}, or one or flip",
            fix="change it, or data.image_size",
        )
