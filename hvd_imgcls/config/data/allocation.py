"""How many examples of a global batch each rank has: `data.allocation.name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, OpenFraction, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class StaticAllocation:
    """Every rank has the same number of examples."""

    name: Literal["static"] = "static"
    """Name of the allocation."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class DynamicAllocation:
    """Faster ranks have more examples: the time that each rank needs is measured.

    The global batches stay the same, and every gradient counts by its number of examples. Without
    synchronised batch normalisation, a rank's batch statistics are those of more or fewer images.
    """

    name: Literal["dynamic"]
    """Name of the allocation."""

    window_seconds: PositiveFloat = 5.0
    """Time between two decisions, each by the mean of the steps in between."""

    min_gain: OpenFraction = 0.05
    """Examples are moved only if that should make the steps shorter by this fraction."""

    max_ratio: Annotated[float, pydantic.Field(gt=1.0)] = 2.0
    """Maximum examples of a rank, as a multiple of an equal part. Limits its memory."""


Allocation = Annotated[StaticAllocation | DynamicAllocation, pydantic.Field(discriminator="name")]
