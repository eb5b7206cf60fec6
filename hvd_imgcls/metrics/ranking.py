"""How well scores order examples: ROC curve, its area, precision and recall, exactly.

What the curves are made of changes at the scores of the positive examples alone. So a problem is
kept as integer counts at its distinct positive scores, ties included: its area under the ROC
curve is a fraction of integers, and the same on any number of ranks.
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
    """A problem with two classes, positive and negative, by scores.

    Attributes:
        scores: Distinct scores of positive examples, falling, `[steps]`.
        positives: Positive examples with that score, `[steps]`.
        negatives_above: Negative examples with a higher score, `[steps]`.
        negatives_at: Negative examples with that score, `[steps]`.
        num_positives: All of them.
        num_negatives: All of them.
    """

    scores: Floats
    positives: Integers
    negatives_above: Integers
    negatives_at: Integers
    num_positives: int
    num_negatives: int

    @property
    def true_positives(self) -> Integers:
        """Positive examples with a score at least as high, `[steps]`."""
        return np.cumsum(self.positives)

    @property
    def false_positives(self) -> Integers:
        """Negative examples with a score at least as high, `[steps]`."""
        return self.negatives_above + self.negatives_at


def rank(positives: Floats, scores: Floats) -> Ranking:
    """Returns the ranking of some positive examples among all examples.

    Args:
        positives: Scores of the positive examples, in any order, `[num_positives]`. Finite.
        scores: Of all examples, in any order, `[num_examples]`. Finite.
    """
    distinct, times = np.unique(positives, return_counts=True)
    counts = count_places(*ScoreIndex(distinct).find(scores), num_steps=len(distinct))
    return ranking_of_counts(distinct, times, counts)


def count_places(places: Integers, equal: Integers, *, num_steps: int) -> Integers:
    """Returns how many scores are at each place, and how many of them equal the step there.

    Args:
        places: What `Places.find` returned, `[num_examples]`.
        equal: The other thing it returned.
        num_steps: Distinct scores that it found places among.

    Returns:
        `[2, num_steps + 1]`. Counts of several parts of the scores may be added up.
    """
    length = num_steps + 1
    return np.stack(
        [np.bincount(places, minlength=length), np.bincount(places[equal], minlength=length)]
    )


def ranking_of_counts(distinct: Floats, times: Integers, counts: Integers) -> Ranking:
    """Returns the ranking of positive examples of which it was counted where they are.

    Args:
        distinct: Distinct scores of the positive examples, rising, `[steps]`.
        times: Positive examples with each, `[steps]`.
        counts: Of all examples among them, as `count_places` returns them, `[2, steps + 1]`.
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

    The Mann-Whitney statistic (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747), in
    integers until the one division. None without positive or without negative examples.
    """
    pairs = ranking.num_positives * ranking.num_negatives
    if not pairs:
        return None
    below = ranking.num_negatives - ranking.false_positives
    return _dot(ranking.positives, 2 * below + ranking.negatives_at) / (2 * pairs)


def average_precision(ranking: Ranking) -> float | None:
    """Returns the sum over thresholds of precision times the recall that is gained.

    Without interpolation, as scikit-learn's. None without positive examples.
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
        max_points: At most about so many corners, spread evenly along the curve; all if None.

    Returns:
        `false_positive_rate` and `true_positive_rate`, and `threshold`: who scores at least that
        is called positive; None where that is no score of a positive example.
    """
    steps = len(ranking.scores)
    # Every distinct score of positives gives two corners: before it, and with it.
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
        max_points: At most about so many points, spread evenly; all if None.
    """
    keep = _spread(len(ranking.scores), max_points)
    true, false = ranking.true_positives[keep], ranking.false_positives[keep]
    return {
        "recall": (true / ranking.num_positives).tolist(),
        "precision": (true / (true + false)).tolist(),
        "threshold": ranking.scores[keep].tolist(),
    }


def _dot(first: Integers, second: Integers) -> int:
    """Returns the sum of products, in Python's integers: 64 bits can be too few."""
    return sum(map(operator.mul, first.tolist(), second.tolist()))


def _corners(false: Integers, true: Integers) -> Integers:
    """Returns which points of a rising line are its ends or where it bends."""
    is_new = np.ones(len(false), np.bool_)
    is_new[1:] = (np.diff(false) != 0) | (np.diff(true) != 0)
    kept = np.flatnonzero(is_new)
    across, up = np.diff(false[kept]), np.diff(true[kept])
    bends = np.ones(len(kept), np.bool_)
    # Products of counts of images: 2**31 of either are not in reach.
    bends[1:-1] = across[:-1] * up[1:] != across[1:] * up[:-1]
    return kept[bends]


def _spread(length: int, max_points: int | None) -> Integers:
    """Returns about `max_points` of so many places, the first and the last among them."""
    if max_points is None or length <= max_points:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, max_points).round().astype(np.int64))
