"""How every section of a configuration behaves, and the kinds of numbers in them.

A section is a frozen, keyword-only dataclass that refuses unknown keys and values of
another type. Every field carries a docstring that says what it means, in which unit;
docs/configuration.md is made from them.
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
# What every random number generator in use takes.
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]

STRICT = pydantic.ConfigDict(
    extra="forbid",
    # `true` is not 1, "7" is not 7 and 2.5 is not 2 examples.
    strict=True,
    allow_inf_nan=False,
)
