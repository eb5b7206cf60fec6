"""The models that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, and an entry in the table that
builds it.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SmallCnn:
    """Two convolutions and two dense layers, without batch normalisation."""

    name: Literal["small_cnn"]
    """Which model this is."""

    num_filters: tuple[PositiveInt, PositiveInt] = (32, 64)
    """Filters of the first and the second 3 by 3 convolution."""

    num_hidden_units: PositiveInt = 128
    """Units of the first dense layer. The second one has a unit per class."""


# Becomes a union told apart by `name` with the second model.
Model = SmallCnn
