"""How pixel values in 0 to 255 are normalised: `data.normalization.name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, Probability


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class UnitRange:
    """Divides pixel values by 255, to the range 0 to 1."""

    name: Literal["unit_range"] = "unit_range"
    """Name of the normalisation."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ImageNetStatistics:
    """Normalises each channel with the mean and standard deviation of ImageNet's training images.

    The values used by torchvision's and most other ImageNet models: means 0.485, 0.456, 0.406
    and standard deviations 0.229, 0.224, 0.225, for pixel values in 0 to 1.
    """

    name: Literal["imagenet"]
    """Name of the normalisation."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class GivenStatistics:
    """Normalises each channel with the mean and standard deviation of your own images.

    `hvd-imgcls statistics PIPELINE` computes them on all ranks and prints this section.
    """

    name: Literal["statistics"]
    """Name of the normalisation."""

    mean: tuple[Probability, ...]
    """Mean of each channel, for pixel values in 0 to 1."""

    standard_deviation: tuple[LeftOpenFraction, ...]
    """Standard deviation of each channel, for pixel values in 0 to 1."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.standard_deviation) or len(self.mean) not in (1, 3):
            raise ValueError("mean and standard_deviation with one number per channel (1 or 3)")


Normalization = Annotated[
    UnitRange | ImageNetStatistics | GivenStatistics, pydantic.Field(discriminator="name")
]
