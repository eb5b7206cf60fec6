"""The operations that RandAugment and TrivialAugment choose from.

The 14 operations, their ranges and signs are those of `RandAugment` and `TrivialAugmentWide` in
torchvision (torchvision/transforms/autoaugment.py). Shears are about the upper left corner,
rotations about the centre; interpolation is nearest-neighbour and gaps are 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.augment.colour import FACTOR_ONE
from hvd_imgcls.data.augment.warping import Map, affine, rotation

NUM_BINS = 31
"""Strengths from 0 to 30, as in torchvision."""

KINDS = (
    "identity",
    "warp",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""Computed operations: shears, translations and rotations are all warps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation with a strength and sign."""

    kind: str
    """One of `KINDS`."""

    amount: int = 0
    """Brightness to sharpness: the factor, in units of 1 / `FACTOR_ONE`.

    Posterize: bit mask of the kept bits. Solarize: the smallest value that is inverted.
    """

    map: Map = dataclasses.field(default_factory=lambda: affine((1.0, 0.0, 0.0, 1.0)))
    """Warp: affine map to source pixels, `[6]`, int32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranges:
    """Values at the largest strength, bin 30; all ranges start at identity and are linear."""

    shear: float
    """Horizontal pixels per vertical pixel, and vice versa."""

    translate_x: float
    """Pixels."""

    translate_y: float
    """Pixels."""

    degrees: float
    """Angle of the rotation, in degrees."""

    blend: float
    """Maximum deviation of the brightness, colour, contrast and sharpness factors from 1."""

    lost_bits: int
    """Number of bits that posterizing drops."""


def rand_augment_ranges(height: int, width: int) -> Ranges:
    """Returns the ranges of torchvision's `RandAugment`."""
    return Ranges(
        shear=0.3,
        translate_x=150 / 331 * width,
        translate_y=150 / 331 * height,
        degrees=30.0,
        blend=0.9,
        lost_bits=4,
    )


def trivial_augment_ranges() -> Ranges:
    """Returns the ranges of torchvision's `TrivialAugmentWide`."""
    return Ranges(
        shear=0.99,
        translate_x=32.0,
        translate_y=32.0,
        degrees=135.0,
        blend=0.99,
        lost_bits=6,
    )


def operations_of(
    ranges: Ranges, strength: int, *, height: int, width: int
) -> dict[str, tuple[Operation, Operation]]:
    """Returns all operations of one strength.

    Args:
        ranges: Value ranges of the operations.
        strength: 0 to `NUM_BINS - 1`.
        height: Height of the images.
        width: Width of the images.

    Returns:
        By name, the operation with positive and with negative sign; identical for operations
        without a sign.
    """
    share = strength / (NUM_BINS - 1)

    def signed(make: Callable[[float], Operation]) -> tuple[Operation, Operation]:
        return make(share), make(-share)

    def blended(kind: str) -> tuple[Operation, Operation]:
        return signed(
            lambda level: Operation(
                kind=kind, amount=round((1 + level * ranges.blend) * FACTOR_ONE)
            )
        )

    def warped(make: Callable[[float], Map]) -> tuple[Operation, Operation]:
        return signed(lambda level: Operation(kind="warp", map=make(level)))

    def unsigned(kind: str, amount: int = 0) -> tuple[Operation, Operation]:
        operation = Operation(kind=kind, amount=amount)
        return operation, operation

    return {
        "identity": unsigned("identity"),
        "shear_x": warped(lambda level: affine((1.0, level * ranges.shear, 0.0, 1.0))),
        "shear_y": warped(lambda level: affine((1.0, 0.0, level * ranges.shear, 1.0))),
        "translate_x": warped(lambda level: _translation(level * ranges.translate_x, 0.0)),
        "translate_y": warped(lambda level: _translation(0.0, level * ranges.translate_y)),
        "rotate": warped(
            lambda level: rotation(math.radians(level * ranges.degrees), height, width)
        ),
        "brightness": blended("brightness"),
        "colour": blended("colour"),
        "contrast": blended("contrast"),
        "sharpness": blended("sharpness"),
        "posterize": unsigned("posterize", 256 - 2 ** round(share * ranges.lost_bits)),
        "solarize": unsigned("solarize", -(-255 * (NUM_BINS - 1 - strength) // (NUM_BINS - 1))),
        "autocontrast": unsigned("autocontrast"),
        "equalize": unsigned("equalize"),
    }


def table_of(operations: list[Operation]) -> tuple[npt.NDArray[np.int32], Map]:
    """Returns indices of `KINDS` and amounts, `[operations, 2]`, and maps, `[operations, 6]`."""
    numbers = [[KINDS.index(one.kind), one.amount] for one in operations]
    return np.array(numbers, np.int32), np.stack([one.map for one in operations])


def _translation(x: float, y: float) -> Map:
    """Returns a translation by whole pixels, rounded towards 0 as in torchvision."""
    return affine((1.0, 0.0, 0.0, 1.0), (math.trunc(x), math.trunc(y)))
