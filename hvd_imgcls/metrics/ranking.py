"""Exact ranking metrics: ROC curve and its area, precision and recall.

The curves only change at the scores of positive examples. A binary problem is therefore stored
as integer counts at its distinct positive scores, ties included: its area under the ROC curve
is a fraction of integers, and the same on any number of ranks.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.score_index import ScoreIndex

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A binary problem, positive and negative examples with scores.

    Attributes:
        scores: Distinct scores of positive examples, descending, `[steps]`.
        positives: Number of positive examples with each score, `[steps]`.
        negatives_above: Number of negative examples with a higher score, `[steps]`.
        negatives_at: Number of negative examples with that score, `[steps]`.
        num_positives: Number of positive examples.
        num_negatives: Number of negative examples.
    """

    scores: Floats
    positives: Integers
    negatives_above: Integers
    negatives_at: Integers
    num_positives: int
    num_negatives: int

    @property
    def true_positives(self) -> Integers:
        """Number of positive examples with at least that score, `[steps]`."""
        return np.cumsum(self.positives)

    @property
    def false_positives(self) -> Integers:
        """Number of negative examples with at least that score, `[steps]`."""
        return self.negatives_above + self.negatives_at


def rank(positives: Floats, scores: Floats) -> Ranking:
    """Returns the ranking of some positive examples among all examples.

    Args:
        positives: Scores of the positive examples, in any order, `[num_positives]`. Finite.
        scores: Scores of all examples, in any order, `[num_examples]`. Finite.
    """
    distinct, times = np.unique(positives, return_counts=True)
    counts = count_places(*ScoreIndex(distinct).find(scores), num_steps=len(distinct))
    return ranking_of_counts(distinct, times, counts)


def count_places(places: Integers, equal: Integers, *, num_steps: int) -> Integers:
    """Returns how many scores are at each position, and how many of them equal the step there.

    Args:
        places: First result of `ScoreIndex.find`, `[num_examples]`.
        equal: Its second result.
        num_steps: Number of distinct scores in the index.

    Returns:
        `[2, num_steps + 1]`. Counts of several parts of the scores can be added.
    """
    length = num_steps + 1
    return np.stack(
        [np.bincount(places, minlength=length), np.bincount(places[equal], minlength=length)]
    )


def ranking_of_counts(distinct: Floats, times: Integers, counts: Integers) -> Ranking:
    """Returns the ranking of positive examples from counts.

    Args:
        distinct: Distinct scores of the positive examples, ascending, `[steps]`.
        times: Number of positive examples with each score, `[steps]`.
        counts: Counts of all examples, as returned by `count_places`, `[2, steps + 1]`.
    """
    at_place, at = counts[0], counts[1, :-1]
    num_examples = int(at_place.sum())
    below = np.cumsum(at_place)[:-1] - at
    num_positives = int(times.sum())
    positives_above = num_positives - np.cumsum(times)
    above = num_examples - below - at
    return Ranking(
        scores=distinct[::-1],
        positives=times[::-1].astype(np.int64),
        negatives_above=(above - positives_above)[::-1].astype(np.int64),
        negatives_at=(at - times)[::-1].astype(np.int64),
        num_positives=num_positives,
        num_negatives=num_examples - num_positives,
    )


def roc_auc(ranking: Ranking) -> float | None:
    """Returns the area under the ROC curve: P(positive scores higher) + P(tie) / 2.

    The Mann-Whitney statistic (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747),
    in integers up to a single division. None without positive or without negative examples.
    """
    pairs = ranking.num_positives * ranking.num_negatives
    if not pairs:
        return None
    below = ranking.num_negatives - ranking.false_positives
    return _dot(ranking.positives, 2 * below + ranking.negatives_at) / (2 * pairs)


def average_precision(ranking: Ranking) -> float | None:
    """Returns the sum over thresholds of precision times the increase in recall.

    Without interpolation, as in scikit-learn. None without positive examples.
    """
    if not ranking.num_positives:
        return None
    true = ranking.true_positives
    terms = ranking.positives * (true / (true + ranking.false_positives))
    return math.fsum(terms.tolist()) / ranking.num_positives


def roc_curve(ranking: Ranking, max_points: int | None = None) -> dict[str, list[float | None]]:
    """Returns the corners of the ROC curve, from (0, 0) to (1, 1).

    Args:
        ranking: With positive and negative examples.
        max_points: Approximate maximum number of corners, spread evenly along the curve; None
            for all.

    Returns:
        `false_positive_rate`, `true_positive_rate` and `threshold`: scores of at least the
        threshold are predicted positive; None if it is not the score of a positive example.
    """
    steps = len(ranking.scores)
    # Every distinct positive score gives two corners: before it, and at it.
    false = np.empty(2 * steps + 2, np.int64)
    true = np.empty_like(false)
    false[0] = true[0] = 0
    false[1:-1:2], false[2:-1:2] = ranking.negatives_above, ranking.false_positives
    true[2:-1:2] = ranking.true_positives
    true[1:-1:2] = ranking.true_positives - ranking.positives
    false[-1], true[-1] = ranking.num_negatives, ranking.num_positives
    thresholds: list[float | None] = [None]
    for score in ranking.scores.tolist():
        thresholds += [None, score]
    thresholds.append(None)
    keep = _corners(false, true)
    keep = keep[_spread(len(keep), max_points)]
    return {
        "false_positive_rate": (false[keep] / ranking.num_negatives).tolist(),
        "true_positive_rate": (true[keep] / ranking.num_positives).tolist(),
        "threshold": [thresholds[index] for index in keep.tolist()],
    }


def precision_recall_curve(
    ranking: Ranking, max_points: int | None = None
) -> dict[str, list[float]]:
    """Returns precision, recall and threshold at every distinct score of positive examples.

    Args:
        ranking: With positive examples.
        max_points: Approximate maximum number of points, spread evenly; None for all.
    """
    keep = _spread(len(ranking.scores), max_points)
    true, false = ranking.true_positives[keep], ranking.false_positives[keep]
    return {
        "recall": (true / ranking.num_positives).tolist(),
        "precision": (true / (true + false)).tolist(),
        "threshold": ranking.scores[keep].tolist(),
    }


def _dot(first: Integers, second: Integers) -> int:
    """Returns the dot product in Python integers, because 64 bits may be too few."""
    return sum(map(operator.mul, first.tolist(), second.tolist()))


def _corners(false: Integers, true: Integers) -> Integers:
    """Returns which points of a monotone line are its ends or where its slope changes."""
    is_new = np.ones(len(false), np.bool_)
    is_new[1:] = (np.diff(false) != 0) | (np.diff(true) != 0)
    kept = np.flatnonzero(is_new)
    across, up = np.diff(false[kept]), np.diff(true[kept])
    bends = np.ones(len(kept), np.bool_)
    # Products of numbers of images: neither factor reaches 2**31.
    bends[1:-1] = across[:-1] * up[1:] != across[1:] * up[:-1]
    return kept[bends]


def _spread(length: int, max_points: int | None) -> Integers:
    """Returns about `max_points` of `length` indices, including the first and last."""
    if max_points is None or length <= max_points:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, max_points).round().astype(np.int64))
