"""The augmentations that a pipeline selects by `name`, applied to training images in order."""

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
    the first augmentation, since the window is cut during decoding.
    """

    name: Literal["random_resized_crop"]
    """Name of the augmentation."""

    area: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    """Smallest and largest area of the window, as a fraction of the image."""

    aspect_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the window."""

    def __post_init__(self) -> None:
        _require_ordered("area", self.area, at_most=1.0)
        _require_ordered("aspect_ratio", self.aspect_ratio)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomCrop:
    """Pads every image on all four sides and crops a random window of the original size."""

    name: Literal["random_crop"]
    """Name of the augmentation."""

    padding: NonNegativeInt = 4
    """Pixels added on each side. All windows are equally likely.

    4 for images of 32 by 32 follows He et al. 2015 (arXiv:1512.03385, section 4.2).
    """

    padding_mode: Literal["zero", "reflect"] = "zero"
    """Padding values: zeros, or the image reflected at its border pixels."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomFlip:
    """Flips images horizontally, or vertically if `vertical`."""

    name: Literal["random_flip"]
    """Name of the augmentation."""

    probability: Probability = 0.5
    """Fraction of the images that are flipped. The default is torchvision's."""

    vertical: bool = False
    """Flips vertically (upside down) instead of horizontally."""

    alternating: bool = False
    """Whether every image is flipped in every other epoch.

    In the first epoch, half of the images are flipped; in the second, fourth, ... those that were
    not flipped in the first, in the third, fifth, ... those that were. The network then sees both
    versions of each image in any two consecutive epochs (Jordan 2024, arXiv:2404.00498, section
    3.6). Requires `probability` 0.5.
    """

    def __post_init__(self) -> None:
        if self.alternating and self.probability != 0.5:
            raise ValueError("probability 0.5 when alternating is true")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomRotation:
    """Rotates images about their centre with bilinear interpolation; gaps are filled with 0."""

    name: Literal["random_rotation"]
    """Name of the augmentation."""

    degrees: Annotated[float, pydantic.Field(ge=0.0, le=180.0)]
    """Largest angle in degrees. Angles are uniform between minus and plus this value."""

    probability: Probability = 1.0
    """Fraction of the images that are rotated."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomErasing:
    """Erases a random rectangle (Zhong et al. 2017, arXiv:1708.04896).

    The defaults are torchvision's.
    """

    name: Literal["random_erasing"]
    """Name of the augmentation."""

    probability: Probability = 0.5
    """Fraction of the images in which a rectangle is erased."""

    area: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.33)
    """Smallest and largest area of the rectangle, as a fraction of the image."""

    aspect_ratio: tuple[PositiveFloat, PositiveFloat] = (0.3, 3.3)
    """Smallest and largest height / width; its logarithm is uniformly distributed."""

    value: Literal["zero", "random"] = "zero"
    """Fill values: zeros, or values uniform over 0 to 255 for every pixel, as in the paper."""

    def __post_init__(self) -> None:
        _require_ordered("area", self.area, at_most=1.0)
        _require_ordered("aspect_ratio", self.aspect_ratio)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cutout:
    """Sets a random square to zero (DeVries and Taylor 2017, arXiv:1708.04552).

    Its centre may be any pixel, so the square can extend beyond the image.
    """

    name: Literal["cutout"]
    """Name of the augmentation."""

    size: PositiveInt = 16
    """Side of the square in pixels. The default is the paper's for CIFAR-10."""

    probability: Probability = 1.0
    """Fraction of the images in which a square is erased."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ColourJitter:
    """Changes brightness, contrast, saturation and hue, in an order drawn for every image.

    As torchvision's `ColorJitter`. By default all strengths are 0 and images are unchanged.
    """

    name: Literal["colour_jitter"]
    """Name of the augmentation."""

    brightness: _JitterStrength = 0.0
    """Pixels are multiplied by a factor drawn from max(0, 1 - value) to 1 + value."""

    contrast: _JitterStrength = 0.0
    """Differences from the mean grey value of the image are multiplied by such a factor."""

    saturation: _JitterStrength = 0.0
    """Differences from the grey value of the same pixel are multiplied by such a factor."""

    hue: Annotated[float, pydantic.Field(ge=0.0, le=0.5)] = 0.0
    """Hue is shifted by up to plus or minus this fraction of the colour circle."""

    probability: Probability = 1.0
    """Fraction of the images that are changed."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandomGreyscale:
    """Converts images to greyscale, keeping three channels (ITU-R BT.601)."""

    name: Literal["random_greyscale"]
    """Name of the augmentation."""

    probability: Probability = 0.1
    """Fraction of the images that are converted. The default is torchvision's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RandAugment:
    """Applies random operations of a fixed strength (Cubuk et al. 2019, arXiv:1909.13719).

    The 14 operations and their ranges are those of torchvision's `RandAugment`; gaps are 0.
    """

    name: Literal["rand_augment"]
    """Name of the augmentation."""

    num_ops: Annotated[int, pydantic.Field(ge=1, le=16)] = 2
    """Operations per image, drawn independently and applied in turn. torchvision's default."""

    magnitude: Annotated[int, pydantic.Field(ge=0, le=30)] = 9
    """Strength of all operations, from 0 to 30. The default is torchvision's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TrivialAugment:
    """Applies one random operation of random strength (Mueller 2021, arXiv:2103.10158).

    The 14 operations and their ranges are those of torchvision's `TrivialAugmentWide`, with 31
    equally likely strengths; gaps are 0.
    """

    name: Literal["trivial_augment"]
    """Name of the augmentation."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Mixup:
    """Blends an image and its target with those of another (Zhang et al. 2017, arXiv:1710.09412).

    Every image draws its own weight. Its partner is its neighbour in the batch, so the per-rank
    batch size must be even.
    """

    name: Literal["mixup"]
    """Name of the augmentation."""

    alpha: Annotated[float, pydantic.Field(ge=0.01, le=100.0)] = 1.0
    """The weight is drawn from Beta(alpha, alpha). The default is torchvision's.

    The paper has 0.2 for ImageNet and 1 for CIFAR.
    """

    probability: Probability = 1.0
    """Fraction of the images that are blended."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cutmix:
    """Pastes a rectangle of another image into an image (Yun et al. 2019, arXiv:1905.04899).

    Targets are blended by area. Every image draws its own rectangle. Its partner is its
    neighbour in the batch, so the per-rank batch size must be even.
    """

    name: Literal["cutmix"]
    """Name of the augmentation."""

    alpha: Annotated[float, pydantic.Field(ge=0.01, le=100.0)] = 1.0
    """The fraction of the area kept is drawn from Beta(alpha, alpha). The paper's default."""

    probability: Probability = 1.0
    """Fraction of the images into which a rectangle is pasted."""


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
        raise ValueError(f"{key} in ascending order ({smallest} > {largest})")
    if at_most is not None and largest > at_most:
        raise ValueError(f"{key} of at most {at_most} (got {largest})")
