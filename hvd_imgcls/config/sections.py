"""Common behaviour of all configuration sections, and the number types in them.

A section is a frozen, keyword-only dataclass that rejects unknown keys and values of the
wrong type. Every field has a docstring with its meaning and unit; docs/configuration.md is
generated from them.
"""

from __future__ import annotations

from typing import Annotated

import pydantic

PositiveInt = Annotated[int, pydantic.Field(ge=1)]
NonNegativeInt = Annotated[int, pydantic.Field(ge=0)]
PositiveFloat = Annotated[float, pydantic.Field(gt=0.0)]
NonNegativeFloat = Annotated[float, pydantic.Field(ge=0.0)]
OpenFraction = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Probability = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
HalfOpenFraction = Annotated[float, pydantic.Field(ge=0.0, lt=1.0)]
LeftOpenFraction = Annotated[float, pydantic.Field(gt=0.0, le=1.0)]
NonEmptyStr = Annotated[str, pydantic.Field(min_length=1)]
# The range that every random number generator in use accepts.
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]

STRICT = pydantic.ConfigDict(
    extra="forbid",
    # Strict: `true` is not 1, "7" is not 7 and 2.5 is not 2 examples.
    strict=True,
    allow_inf_nan=False,
)
