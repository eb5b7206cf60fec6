"""How pixels of 0 to 255 become what the network computes with: `data.normalization.name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, Probability


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class UnitRange:
    """Pixels divided by 255: 0 to 1."""

    name: Literal["unit_range"] = "unit_range"
    """Which normalisation this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ImageNetStatistics:
    """Mean 0 and standard deviation 1 over the training images of ImageNet, for each channel.

    The values that torchvision's and most other ImageNet models were trained with: means
    0.485, 0.456, 0.406 and standard deviations 0.229, 0.224, 0.225 of pixels in 0 to 1.
    """

    name: Literal["imagenet"]
    """Which normalisation this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class GivenStatistics:
    """Mean 0 and standard deviation 1 of your own images, for each channel.

    `hvd-imgcls statistics PIPELINE` computes them over all ranks and prints this section.
    """

    name: Literal["statistics"]
    """Which normalisation this is."""

    mean: tuple[Probability, ...]
    """Mean of each channel, of pixels in 0 to 1."""

    standard_deviation: tuple[LeftOpenFraction, ...]
    """Standard deviation of each channel, of pixels in 0 to 1."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.standard_deviation) or len(self.mean) not in (1, 3):
            raise ValueError("mean and standard_deviation: one number for each of 1 or 3 channels")


Normalization = Annotated[
    UnitRange | ImageNetStatistics | GivenStatistics, pydantic.Field(discriminator="name")
]
