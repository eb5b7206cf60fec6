"""The augmentations that a pipeline chooses by `name`, applied to training images in order."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

# Bounds keep the fixed-point arithmetic of hvd_imgcls.data.augment.colour within 32 bits.
_JitterStrength = Annotated[float, pydantic.Field(ge=0.0, le=8.0)]


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
        _require_ordered("area", self.area, at_most=1.0)
        _require_ordered("aspect_ratio", self.aspect_ratio)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomCrop:
    """Pads every image on all four sides and cuts a random window of its size out of it."""

    name: Literal["random_crop"]
    """Which augmentation this is."""

    padding: NonNegativeInt = 4
    """Pixels added on each side. All windows are equally likely.

    4 for images of 32 by 32 is that of He et al. 2015 (arXiv:1512.03385, section 4.2).
    """

    padding_mode: Literal["zero", "reflect"] = "zero"
    """What is added: zeros, or the image mirrored at its outermost pixels."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomFlip:
    """Mirrors an image, left to right unless `vertical`."""

    name: Literal["random_flip"]
    """Which augmentation this is."""

    probability: Probability = 0.5
    """Fraction of the images that are mirrored. The default is torchvision's."""

    vertical: bool = False
    """Mirrors upside down instead of left to right."""

    alternating: bool = False
    """Whether an image that was mirrored in an even epoch is not in the next one, and vice versa.

    In every two epochs the network then sees both sides of each image once (Jordan 2024,
    arXiv:2404.00498, section 3.6). `probability` must be 0.5.
    """

    def __post_init__(self) -> None:
        if self.alternating and self.probability != 0.5:
            raise ValueError("alternating needs probability 0.5")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomRotation:
    """Rotates an image about its centre, with bilinear interpolation; gaps are 0."""

    name: Literal["random_rotation"]
    """Which augmentation this is."""

    degrees: Annotated[float, pydantic.Field(ge=0.0, le=180.0)]
    """Largest angle in degrees. All angles from minus to plus this are equally likely."""

    probability: Probability = 1.0
    """Fraction of the images that are rotated."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomErasing:
    """Overwrites a random rectangle (Zhong et al. 2017, arXiv:1708.04896).

    The defaults are torchvision's.
    """

    name: Literal["random_erasing"]
    """Which augmentation this is."""

    probability: Probability = 0.5
    """Fraction of the images in which a rectangle is overwritten."""

    area: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.33)
    """Smallest and largest area of the rectangle, as a fraction of the image."""

    aspect_ratio: tuple[PositiveFloat, PositiveFloat] = (0.3, 3.3)
    """Smallest and largest height / width, evenly distributed in the logarithm."""

    value: Literal["zero", "random"] = "zero"
    """What is written: zeros, or every value of 0 to 255 equally likely, as in the paper."""

    def __post_init__(self) -> None:
        _require_ordered("area", self.area, at_most=1.0)
        _require_ordered("aspect_ratio", self.aspect_ratio)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cutout:
    """Overwrites a square with zeros (DeVries and Taylor 2017, arXiv:1708.04552).

    Its centre is any pixel, so that it may lie partly outside of the image.
    """

    name: Literal["cutout"]
    """Which augmentation this is."""

    size: PositiveInt = 16
    """Side of the square in pixels. The default is the paper's for CIFAR-10."""

    probability: Probability = 1.0
    """Fraction of the images in which a square is overwritten."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ColourJitter:
    """Changes brightness, contrast, saturation and hue, in this order.

    The formulas are torchvision's; it draws the order too. Without any strength, as by default,
    nothing is changed.
    """

    name: Literal["colour_jitter"]
    """Which augmentation this is."""

    brightness: _JitterStrength = 0.0
    """Pixels are multiplied by a factor from max(0, 1 - this) to 1 + this."""

    contrast: _JitterStrength = 0.0
    """Distances from the mean grey of the image are multiplied by such a factor."""

    saturation: _JitterStrength = 0.0
    """Distances from the grey of the same pixel are multiplied by such a factor."""

    hue: Annotated[float, pydantic.Field(ge=0.0, le=0.5)] = 0.0
    """Hue is shifted by minus to plus this part of the colour circle."""

    probability: Probability = 1.0
    """Fraction of the images that are changed."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomGreyscale:
    """Replaces the three channels of an image by its grey (ITU-R BT.601)."""

    name: Literal["random_greyscale"]
    """Which augmentation this is."""

    probability: Probability = 0.1
    """Fraction of the images that become grey. The default is torchvision's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandAugment:
    """Applies random operations of one strength (Cubuk et al. 2019, arXiv:1909.13719).

    The 14 operations and their ranges are those of torchvision's `RandAugment`; gaps are 0.
    """

    name: Literal["rand_augment"]
    """Which augmentation this is."""

    num_ops: Annotated[int, pydantic.Field(ge=1, le=16)] = 2
    """Operations per image, one after the other, each drawn anew. The default is torchvision's."""

    magnitude: Annotated[int, pydantic.Field(ge=0, le=30)] = 9
    """Strength of all operations, from 0 to 30. The default is torchvision's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TrivialAugment:
    """Applies one random operation of random strength (Mueller 2021, arXiv:2103.10158).

    The 14 operations and their ranges are those of torchvision's `TrivialAugmentWide`, with 31
    equally likely strengths; gaps are 0.
    """

    name: Literal["trivial_augment"]
    """Which augmentation this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Mixup:
    """Blends an image and its targets with those of another (Zhang et al. 2017, arXiv:1710.09412).

    Every image draws its own weight. The other one is its neighbour in the batch, so that every
    rank needs an even number of examples per pass.
    """

    name: Literal["mixup"]
    """Which augmentation this is."""

    alpha: Annotated[float, pydantic.Field(ge=0.01, le=100.0)] = 1.0
    """The weight is drawn from Beta(alpha, alpha). The default is torchvision's.

    The paper has 0.2 for ImageNet and 1 for CIFAR.
    """

    probability: Probability = 1.0
    """Fraction of the images that are blended."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cutmix:
    """Puts a rectangle of another image into an image (Yun et al. 2019, arXiv:1905.04899).

    The targets are blended by area. Every image draws its own rectangle. The other image is its
    neighbour in the batch, so that every rank needs an even number of examples per pass.
    """

    name: Literal["cutmix"]
    """Which augmentation this is."""

    alpha: Annotated[float, pydantic.Field(ge=0.01, le=100.0)] = 1.0
    """The part of the area kept is drawn from Beta(alpha, alpha). The default is the paper's."""

    probability: Probability = 1.0
    """Fraction of the images into which a rectangle is put."""


Augmentation = Annotated[
    RandomResizedCrop
    | RandomCrop
    | RandomFlip
    | RandomRotation
    | RandomErasing
    | Cutout
    | ColourJitter
    | RandomGreyscale
    | RandAugment
    | TrivialAugment
    | Mixup
    | Cutmix,
    pydantic.Field(discriminator="name"),
]


def _require_ordered(
    key: str, bounds: tuple[float, float], *, at_most: float | None = None
) -> None:
    smallest, largest = bounds
    if smallest > largest:
        raise ValueError(f"{key} with the smallest first: {smallest} is above {largest}")
    if at_most is not None and largest > at_most:
        raise ValueError(f"{key} of at most {at_most}: {largest} is above")
