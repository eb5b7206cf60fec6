"""The augmentations that a pipeline chooses by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, PositiveFloat, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomResizedCrop:
    """Cuts out a window of random area and aspect ratio and resizes it to `data.image_size`.

    After Szegedy et al. 2014 (arXiv:1409.4842, section 6), with torchvision's defaults. Must be
    the first augmentation: it comes with decoding.
    """

    name: Literal["random_resized_crop"]
    """Which augmentation this is."""

    area: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    """Smallest and largest area of the window, as a fraction of the image."""

    aspect_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the window."""

    def __post_init__(self) -> None:
        for name in ("area", "aspect_ratio"):
            smallest, largest = getattr(self, name)
            if smallest > largest:
                raise ValueError(f"{name}: the smallest first")
        if self.area[1] > 1:
            raise ValueError("area: at most 1, the whole image")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomShift:
    """Moves every image by whole pixels, as far up or down as left or right; gaps are 0."""

    name: Literal["random_shift"]
    """Which augmentation this is."""

    max_pixels: PositiveInt = 1
    """Largest shift in pixels. All shifts from minus to plus this are equally likely."""


Augmentation = Annotated[RandomResizedCrop | RandomShift, pydantic.Field(discriminator="name")]
