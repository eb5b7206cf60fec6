"""ROC and precision-recall curves for plotting: exact points, limited in number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvd_imgcls.metrics.gathering import Rankings
from hvd_imgcls.metrics.ranking import Ranking, precision_recall_curve, roc_curve

_POINTS_OF_ALL, _MOST_POINTS, _LEAST_POINTS = 20_000, 1000, 25


def curves(rankings: Rankings, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the curves of every class, and the micro-averaged ones.

    Every point is exact; omitted points lie between those returned.

    Args:
        rankings: Rankings of an evaluation.
        class_names: `[num_classes]`.

    Returns:
        `micro`, and `classes` with the `name` of each: `roc` and `precision_recall`, None if
        undefined.
        they are not defined.
    """
    most = max(_LEAST_POINTS, min(_MOST_POINTS, _POINTS_OF_ALL // len(class_names)))
    return {
        "micro": _of_one(rankings.micro, _MOST_POINTS),
        "classes": [
            {"name": name, **_of_one(one.ranking, most)}
            for name, one in zip(class_names, rankings.classes, strict=True)
        ],
    }


def _of_one(ranking: Ranking, max_points: int) -> dict[str, Any]:
    has_positives = ranking.num_positives > 0
    return {
        "roc": roc_curve(ranking, max_points) if has_positives and ranking.num_negatives else None,
        "precision_recall": precision_recall_curve(ranking, max_points) if has_positives else None,
    }
