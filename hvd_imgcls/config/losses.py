"""The losses that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, and an entry in the table that
builds it.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, HalfOpenFraction


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy between the targets and the softmax of the logits."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """Which loss this is."""

    label_smoothing: HalfOpenFraction = 0.0
    """Part of every target that is spread evenly over all classes, in training only."""


# Becomes a union told apart by `name` with the second loss.
Loss = CrossEntropy
