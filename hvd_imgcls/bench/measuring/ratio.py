"""Ratios of alternating measurements with confidence intervals. Plain arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """Our time divided by the baseline's, over pairs of neighbouring measurements.

    Attributes:
        value: Geometric mean of the pairs' ratios.
        low: Lower bound of its 95 % bootstrap confidence interval.
        high: Upper bound.
        pairs: Number of pairs.
    """

    value: float
    low: float
    high: float
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers, rounded to significant digits."""
        return {
            "ratio": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "pairs": self.pairs,
        }

    def describe(self) -> str:
        """Returns the ratio and its interval."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], {self.pairs} pairs"


def ratio_of_pairs(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Returns the ratio of paired times.

    Neighbouring measurements see the same load of the machine, so the ratio is taken within
    pairs; the interval is a percentile bootstrap over pairs (Efron 1979), seeded.

    Args:
        ours: Times in seconds, one per pair.
        theirs: Times of the baseline.
    """
    logs = np.log(np.asarray(ours) / np.asarray(theirs))
    random = np.random.default_rng(0)
    resampled = random.choice(logs, size=(2000, len(logs))).mean(axis=1)
    low, high = np.exp(np.percentile(resampled, [2.5, 97.5]))
    return Ratio(
        value=float(np.exp(logs.mean())), low=float(low), high=float(high), pairs=len(logs)
    )


def alternating_order(pairs: int) -> list[tuple[int, int]]:
    """Returns which of two arms goes first in each pair: A B, B A, A B, ...

    A drift in one direction then affects both equally.

    >>> alternating_order(3)
    [(0, 1), (1, 0), (0, 1)]
    """
    return [(0, 1) if pair % 2 == 0 else (1, 0) for pair in range(pairs)]
