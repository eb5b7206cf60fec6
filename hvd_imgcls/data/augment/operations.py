"""The operations that RandAugment and TrivialAugment choose from, as rows of numbers.

The 14 operations, their ranges and signs are those of `RandAugment` and `TrivialAugmentWide` in
torchvision (torchvision/transforms/autoaugment.py). Shears are about the upper left corner,
rotations about the centre; each pixel is the nearest one and gaps are 0. Every row is the
identity but for the numbers of its operation, so that a whole batch goes through the same
arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hvd_imgcls.data.augment.colour import FACTOR_ONE
from hvd_imgcls.data.augment.warping import Map, affine, rotation

NUM_BINS = 31
"""Strengths from 0 to 30, as in torchvision."""

OTHERS = ("black", "mean_grey", "grey", "blurred")
"""What an image is blended with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One operation of one strength and sign."""

    map: Map = dataclasses.field(default_factory=lambda: affine((1.0, 0.0, 0.0, 1.0)))
    """Where pixels come from (`warping`), `[6]`, int32."""

    other: int = 0
    """What the image is blended with, an index of `OTHERS`."""

    factor: int = FACTOR_ONE
    """Weight of the image in the blend, in units of 1 / `FACTOR_ONE`."""

    kept_bits: int = 255
    """Bits that posterizing keeps, as a mask."""

    threshold: int = 256
    """Values from here on are inverted."""

    stretch: bool = False
    """Whether each channel is stretched to 0 .. 255 (autocontrast)."""

    equalize: bool = False
    """Whether the histogram of each channel is equalized."""

    def plain_numbers(self) -> list[int]:
        """Returns all but the map."""
        return [
            self.other, self.factor, self.kept_bits, self.threshold, self.stretch, self.equalize
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranges:
    """What the largest strength, bin 30, means; all ranges start at no change and are linear."""

    shear: float
    """Pixels sideways per pixel."""

    translate_x: float
    """Pixels."""

    translate_y: float
    """Pixels."""

    degrees: float
    """Of the rotation."""

    blend: float
    """Distance of the factor of brightness, colour, contrast and sharpness from 1."""

    lost_bits: int
    """Bits that posterizing drops."""


def rand_augment_ranges(height: int, width: int) -> Ranges:
    """Returns those of torchvision's `RandAugment`."""
    return Ranges(
        shear=0.3,
        translate_x=150 / 331 * width,
        translate_y=150 / 331 * height,
        degrees=30.0,
        blend=0.9,
        lost_bits=4,
    )


def trivial_augment_ranges() -> Ranges:
    """Returns those of torchvision's `TrivialAugmentWide`."""
    return Ranges(
        shear=0.99,
        translate_x=32.0,
        translate_y=32.0,
        degrees=135.0,
        blend=0.99,
        lost_bits=6,
    )


def operation_rows(
    ranges: Ranges, strength: int, *, height: int, width: int
) -> dict[str, tuple[Row, Row]]:
    """Returns every operation of one strength.

    Args:
        ranges: What strengths mean.
        strength: 0 to `NUM_BINS - 1`.
        height: Of the images.
        width: Of the images.

    Returns:
        By name, the row of the positive and of the negative sign; the same row twice where
        there is no sign.
    """
    share = strength / (NUM_BINS - 1)

    def signed(make: Callable[[float], Row]) -> tuple[Row, Row]:
        return make(share), make(-share)

    def unsigned(row: Row) -> tuple[Row, Row]:
        return row, row

    def blended(other: str) -> tuple[Row, Row]:
        index = OTHERS.index(other)
        return signed(
            lambda level: Row(other=index, factor=round((1 + level * ranges.blend) * FACTOR_ONE))
        )

    lost_bits = round(share * ranges.lost_bits)
    return {
        "identity": unsigned(Row()),
        "shear_x": signed(lambda level: Row(map=affine((1, level * ranges.shear, 0, 1)))),
        "shear_y": signed(lambda level: Row(map=affine((1, 0, level * ranges.shear, 1)))),
        "translate_x": signed(lambda level: _translation(level * ranges.translate_x, 0.0)),
        "translate_y": signed(lambda level: _translation(0.0, level * ranges.translate_y)),
        "rotate": signed(
            lambda level: Row(map=rotation(math.radians(level * ranges.degrees), height, width))
        ),
        "brightness": blended("black"),
        "colour": blended("grey"),
        "contrast": blended("mean_grey"),
        "sharpness": blended("blurred"),
        "posterize": unsigned(Row(kept_bits=256 - 2**lost_bits)),
        "solarize": unsigned(Row(threshold=-(-255 * (NUM_BINS - 1 - strength) // (NUM_BINS - 1)))),
        "autocontrast": unsigned(Row(stretch=True)),
        "equalize": unsigned(Row(equalize=True)),
    }


def table_of(rows: list[Row]) -> tuple[Map, Map]:
    """Returns rows as arrays: maps `[rows, 6]` and other numbers `[rows, 6]`, int32."""
    maps = np.stack([row.map for row in rows])
    return maps, np.array([row.plain_numbers() for row in rows], np.int32)


def _translation(x: float, y: float) -> Row:
    """Returns moving by whole pixels, rounded towards 0 as in torchvision."""
    return Row(map=affine((1.0, 0.0, 0.0, 1.0), (math.trunc(x), math.trunc(y))))
