"""Each class against the others, and all together, from the scores of one class at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.ranking import Ranking, rank, ranking_of_counts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OneClass:
    """How the probability of one class orders the examples.

    Attributes:
        ranking: Its examples against all others.
        auc_against: Mean area under the ROC curve against every other class that has examples,
            these two classes' examples alone; None without examples of it or of others.
    """

    ranking: Ranking
    auc_against: float | None


def rank_class(
    number: int, scores: Floats, ascending: Floats, labels: Integers, support: Integers
) -> OneClass:
    """Returns how the scores of one class order the examples.

    Args:
        number: The class.
        scores: Its probabilities, `[num_examples]`, finite.
        ascending: The same, sorted.
        labels: `[num_examples]`.
        support: Examples of every class, `[num_classes]`.
    """
    positives = scores[labels == number]
    return OneClass(
        ranking=rank(positives, ascending),
        auc_against=_mean_auc_against(number, positives, scores, labels, support),
    )


def one_vs_one_auc(classes: Sequence[OneClass]) -> float | None:
    """Returns the mean area under the ROC curve over all pairs of classes.

    The M of Hand and Till 2001 (doi:10.1023/A:1010920819831), over the classes that have
    examples. None if they are fewer than two.
    """
    areas = [one.auc_against for one in classes if one.auc_against is not None]
    return math.fsum(areas) / len(areas) if areas else None


class MicroCounter:
    """Counts where the labels' own probabilities stand among those of all classes.

    Every example with every class is one case of yes or no.

    Args:
        own: Probabilities of the labels' classes, `[num_examples]`, finite.
        num_classes: Number of classes.
    """

    def __init__(self, own: Floats, num_classes: int) -> None:
        self._distinct, self._times = np.unique(own, return_counts=True)
        self._num_cases = len(own) * num_classes
        self.counts = np.zeros((2, len(self._distinct)), np.int64)
        """Cases below each of the distinct probabilities, and at most as high."""

    def add(self, ascending: Floats) -> None:
        """Counts the probabilities of one class, sorted, `[num_examples]`."""
        self.counts[0] += np.searchsorted(ascending, self._distinct, "left")
        self.counts[1] += np.searchsorted(ascending, self._distinct, "right")

    def ranking(self, counts: Integers) -> Ranking:
        """Returns the ranking.

        Args:
            counts: `self.counts`, summed over whoever has counted.
        """
        below, not_above = counts
        return ranking_of_counts(
            self._distinct,
            self._times,
            below=below,
            at=not_above - below,
            num_examples=self._num_cases,
        )


def _mean_auc_against(
    number: int, positives: Floats, scores: Floats, labels: Integers, support: Integers
) -> float | None:
    others = np.flatnonzero(support)
    others = others[others != number]
    if not len(positives) or not len(others):
        return None
    distinct, times = np.unique(positives, return_counts=True)
    places = np.searchsorted(distinct, scores, "left")
    # One more, which no score equals: the place of those above all positives.
    edges, weights = np.append(distinct, np.nan), np.append(times, 0)
    below = np.cumsum(weights) - weights
    # For every example, twice the positives that score less, and once those that score the same.
    lost = 2 * below[places] + np.where(edges[places] == scores, weights[places], 0)
    # Sums of integers, below 2**53: exact in float64.
    lost_to = np.bincount(labels, weights=lost, minlength=len(support))[others].astype(np.int64)
    pairs = 2 * len(positives) * support[others]
    return math.fsum(((pairs - lost_to) / pairs).tolist()) / len(others)
