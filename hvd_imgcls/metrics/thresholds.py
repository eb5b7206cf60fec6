"""Operating points: the threshold for a required recall or precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hvd_imgcls.metrics.ranking import Ranking


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdTargets:
    """Targets for which thresholds are reported.

    Attributes:
        recalls: Recalls to reach, each in (0, 1].
        precisions: Precisions to reach, each in (0, 1].
    """

    recalls: Sequence[float] = ()
    precisions: Sequence[float] = ()


def operating_points(
    ranking: Ranking, targets: ThresholdTargets
) -> dict[str, list[dict[str, Any]]]:
    """Returns the operating points of one class, each with its requirement as `target`.

    Points that do not exist have no other keys.

    Args:
        ranking: Scores of the class.
        targets: Recalls and precisions.
    """
    return {
        "recall": [
            {"target": target, **(threshold_for_recall(ranking, target) or {})}
            for target in targets.recalls
        ],
        "precision": [
            {"target": target, **(threshold_for_precision(ranking, target) or {})}
            for target in targets.precisions
        ],
    }


def threshold_for_recall(ranking: Ranking, recall: float) -> dict[str, Any] | None:
    """Returns the highest threshold with at least this recall.

    None without positive examples.

    Args:
        ranking: Scores of one class.
        recall: In (0, 1].
    """
    # By division, to compare with 0.7 as meant: a product with 0.7 may be slightly larger.
    enough = np.flatnonzero(ranking.true_positives / max(1, ranking.num_positives) >= recall)
    return _point(ranking, int(enough[0])) if len(enough) else None


def threshold_for_precision(ranking: Ranking, precision: float) -> dict[str, Any] | None:
    """Returns the threshold of highest recall among those with at least this precision.

    None if there is none.

    Args:
        ranking: Scores of one class.
        precision: In (0, 1].
    """
    true, false = ranking.true_positives, ranking.false_positives
    enough = np.flatnonzero(true / (true + false) >= precision)
    return _point(ranking, int(enough[-1])) if len(enough) else None


def _point(ranking: Ranking, step: int) -> dict[str, Any]:
    true = int(ranking.true_positives[step])
    false = int(ranking.false_positives[step])
    return {
        "threshold": float(ranking.scores[step]),
        "recall": true / ranking.num_positives,
        "precision": true / (true + false),
        "false_positive_rate": false / ranking.num_negatives if ranking.num_negatives else None,
    }
