"""One-vs-rest, one-vs-one and micro-averaged rankings, from the scores of one class at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.ranking import Ranking, count_places, ranking_of_counts
from hvd_imgcls.metrics.score_index import ScoreIndex

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OneClass:
    """Ranking of the examples by the probability of one class.

    Attributes:
        ranking: Its examples against all others (one-vs-rest).
        auc_against: Mean area under the ROC curve against each other class that has examples,
            restricted to the examples of both; None if either side has no examples.
    """

    ranking: Ranking
    auc_against: float | None


def rank_class(number: int, scores: Floats, labels: Integers, support: Integers) -> OneClass:
    """Returns the ranking of the examples by the scores of one class.

    Args:
        number: The class.
        scores: Its probabilities, `[num_examples]`, finite.
        labels: `[num_examples]`.
        support: Number of examples of every class, `[num_classes]`.
    """
    distinct, times = np.unique(scores[labels == number], return_counts=True)
    places, equal = ScoreIndex(distinct).find(scores)
    counts = count_places(places, equal, num_steps=len(distinct))
    return OneClass(
        ranking=ranking_of_counts(distinct, times, counts),
        auc_against=_mean_auc_against(number, times, places, equal, labels, support),
    )


def one_vs_one_auc(classes: Sequence[OneClass]) -> float | None:
    """Returns the mean area under the ROC curve over all pairs of classes (one-vs-one).

    The M of Hand and Till 2001 (doi:10.1023/A:1010920819831), over the classes that have
    examples. None if there are fewer than two.
    """
    areas = [one.auc_against for one in classes if one.auc_against is not None]
    return math.fsum(areas) / len(areas) if areas else None


class MicroCounter:
    """Counts the positions of the labels' probabilities among those of all classes.

    For the micro average: every pair of example and class is one binary case.

    Args:
        own: Probabilities of the labels, `[num_examples]`, finite.
    """

    def __init__(self, own: Floats) -> None:
        self._distinct, self._times = np.unique(own, return_counts=True)
        self._places = ScoreIndex(self._distinct)
        self.counts = np.zeros((2, len(self._distinct) + 1), np.int64)
        """Counts so far, in the format of `count_places`."""

    def add(self, scores: Floats) -> None:
        """Counts the probabilities of one class, `[num_examples]`."""
        places, equal = self._places.find(scores)
        self.counts += count_places(places, equal, num_steps=len(self._distinct))

    def ranking(self, counts: Integers) -> Ranking:
        """Returns the ranking.

        Args:
            counts: `self.counts`, summed over all ranks.
        """
        return ranking_of_counts(self._distinct, self._times, counts)


def _mean_auc_against(
    number: int,
    times: Integers,
    places: Integers,
    equal: Integers,
    labels: Integers,
    support: Integers,
) -> float | None:
    others = np.flatnonzero(support)
    others = others[others != number]
    if not len(times) or not len(others):
        return None
    # For every example, twice the number of positives with lower scores plus that of ties.
    lost = 2 * np.append(0, np.cumsum(times))[places]
    lost[equal] += times[places[equal]]
    # Sums of integers below 2**53: exact in float64.
    lost_to = np.bincount(labels, weights=lost, minlength=len(support))[others].astype(np.int64)
    pairs = 2 * int(times.sum()) * support[others]
    return math.fsum(((pairs - lost_to) / pairs).tolist()) / len(others)
