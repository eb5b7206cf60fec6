"""Finds the positions of many scores among distinct ones, without sorting."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Buckets per distinct score: most of them are then empty or contain one score.
_BUCKETS_PER_SCORE = 16


class ScoreIndex:
    """Counts the distinct scores below given scores.

    The bit patterns of non-negative floats increase with their values. Their leading bits
    determine the bucket of a score, and a table holds the number of distinct scores in earlier
    buckets; a search is needed only if several share a bucket. The result is exact for all
    finite scores, and fast for scores that are spread over their range.

    Args:
        distinct: Ascending, finite, `[steps]`.
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
        # The first bucket is for scores below all others, the last for those above.
        self._last = int(buckets[-1]) + 1 if len(distinct) else 0
        self._inside = np.bincount(buckets, minlength=self._last + 1).astype(np.int32)
        self._before = (np.cumsum(self._inside) - self._inside).astype(np.int32)

    def find(self, scores: Floats) -> tuple[Integers, Integers]:
        """Returns how many distinct scores are lower, and which scores equal the next one.

        Args:
            scores: Finite, `[examples]`.

        Returns:
            Positions in 0 .. `steps`, `[examples]`; and the indices into them at which
            `distinct[position]` equals the score.
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
        # The largest score of a bucket may be below another in the same bucket.
        reached = shared[places[shared] < len(self._distinct)]
        is_equal.append(reached[self._distinct[places[reached]] == scores[reached]])
        return places, np.concatenate(is_equal)


def _bits(scores: Floats) -> Integers:
    """Returns integers that increase with the scores: 0 for negative scores and -0."""
    return np.maximum(np.ascontiguousarray(scores).view(np.int64), 0)
