"""Where many scores stand among some distinct ones, without sorting them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Buckets for each distinct score: most of them are then empty, or have one.
_BUCKETS_PER_SCORE = 16


class ScoreIndex:
    """Counts the distinct scores below others.

    The bit patterns of numbers that are not negative rise with them. Cut short, they say the
    bucket of a score, and a table how many distinct scores are in the buckets before; only where
    several share a bucket it takes a search. So it is exact for all finite scores, and fast
    for those that are spread over their range.

    Args:
        distinct: Rising, finite, `[steps]`.
    """

    def __init__(self, distinct: Floats) -> None:
        self._distinct = distinct
        self._low = self._shift = 0
        buckets = np.zeros(0, np.int64)
        if len(distinct):
            bits = _bits(distinct)
            self._low = int(bits[0])
            span = int(bits[-1]) - self._low
            self._shift = (span // (_BUCKETS_PER_SCORE * len(distinct))).bit_length()
            buckets = ((bits - self._low) >> self._shift) + 1
        # The first bucket is for what is lower than all, the last for what is higher.
        self._last = int(buckets[-1]) + 1 if len(distinct) else 0
        self._inside = np.bincount(buckets, minlength=self._last + 1).astype(np.int32)
        self._before = (np.cumsum(self._inside) - self._inside).astype(np.int32)

    def find(self, scores: Floats) -> tuple[Integers, Integers]:
        """Returns how many distinct scores are lower, and which scores equal the next one.

        Args:
            scores: Finite, `[examples]`.

        Returns:
            Places, in 0 .. `steps`, `[examples]`; and the positions in them at which
            `distinct[place]` is the score itself.
        """
        buckets = np.clip(((_bits(scores) - self._low) >> self._shift) + 1, 0, self._last)
        places = self._before[buckets].astype(np.int64)
        inside = self._inside[buckets]
        shared = np.flatnonzero(inside > 1)
        places[shared] = np.searchsorted(self._distinct, scores[shared], "left")
        singles = np.flatnonzero(inside == 1)
        next_scores = self._distinct[places[singles]]
        is_equal = [singles[next_scores == scores[singles]]]
        places[singles] += next_scores < scores[singles]
        # The highest of a bucket may be lower than what shares it.
        reached = shared[places[shared] < len(self._distinct)]
        is_equal.append(reached[self._distinct[places[reached]] == scores[reached]])
        return places, np.concatenate(is_equal)


def _bits(scores: Floats) -> Integers:
    """Returns integers that never fall where scores rise: 0 for negative ones and for -0."""
    return np.maximum(np.ascontiguousarray(scores).view(np.int64), 0)
