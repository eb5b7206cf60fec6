"""All metrics of an evaluation, as stored in `evaluation.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.metrics.calibration import calibration
from hvd_imgcls.metrics.collecting import Collector
from hvd_imgcls.metrics.confusion import (
    averages,
    balanced_accuracy,
    cohens_kappa,
    confusion_matrix,
    matthews_correlation,
    metrics_per_class,
)
from hvd_imgcls.metrics.examples import Examples, mean, num_within, top_k
from hvd_imgcls.metrics.gathering import Rankings, gather_examples, gather_rankings
from hvd_imgcls.metrics.intervals import (
    degenerate,
    intervals,
    num_resamples,
    resampled_macro_auc,
    resampled_metrics,
)
from hvd_imgcls.metrics.one_class import one_vs_one_auc
from hvd_imgcls.metrics.proportions import LEVEL, wilson_interval
from hvd_imgcls.metrics.ranking import average_precision, roc_auc
from hvd_imgcls.metrics.slices import Columns, Grouping, metrics_by_group
from hvd_imgcls.metrics.thresholds import ThresholdTargets, operating_points

HEADLINES = ("loss", "top1", "top5", "balanced_accuracy", "num_correct")
"""Metrics that are always present, None if the model's probabilities are not finite."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Result of an evaluation, the same on all ranks.

    Attributes:
        metrics: JSON: the contents of `evaluation.json`.
        examples: Results of every example, in order.
        rankings: Rankings of the examples by probability; None if some are not finite.
    """

    metrics: dict[str, Any]
    examples: Examples
    rankings: Rankings | None


def evaluate(
    collector: Collector,
    class_names: Sequence[str],
    collectives: Collectives,
    *,
    seed: int = 0,
    with_intervals: bool = True,
    columns: Columns | None = None,
    targets: ThresholdTargets = ThresholdTargets(),  # noqa: B008 - frozen
) -> Evaluated:
    """Computes the exact metrics of the examples of all ranks.

    Everything is a count, a correctly rounded sum, or a sum in the order of the examples; so
    equal probabilities give equal bytes on any number of ranks. Undefined metrics are None. If
    the model's probabilities are NaN or infinite for any example, only counts are returned.

    Collective: every rank must call this.

    Args:
        collector: Predictions that this rank has collected.
        class_names: `[num_classes]`.
        collectives: Communication between the ranks.
        seed: Seed of the bootstrap.
        with_intervals: Whether to compute the bootstrap intervals; others are always computed.
        columns: Columns of the examples that define slices.
        targets: Recalls and precisions for which the threshold of each class is reported.

    Raises:
        BadImagesError: If no example could be decoded.
    """
    examples = gather_examples(collector, collectives)
    not_finite = ~np.isfinite(examples.losses) | ~np.isfinite(examples.brier)
    metrics: dict[str, Any] = {
        "num_examples": len(examples),
        "num_unreadable": collector.num_examples - len(examples),
        "num_not_finite": int(not_finite.sum()),
    }
    if not_finite.any():
        names = {"class_names": list(class_names)}
        return Evaluated({**metrics, **dict.fromkeys(HEADLINES), **names}, examples, None)
    metrics |= _probability_metrics(examples)
    metrics |= _decision_metrics(examples, class_names)
    groupings = {name: Grouping(of, examples) for name, of in (columns or {}).items()}
    rankings = gather_rankings(collector, examples, collectives, list(groupings.values()))
    _add_rankings(metrics, rankings)
    if targets.recalls or targets.precisions:
        for row, of_class in zip(metrics["per_class"], rankings.classes, strict=True):
            row["thresholds"] = operating_points(of_class.ranking, targets)
    if groupings:
        metrics["slices"] = {
            name: metrics_by_group(grouping, examples, class_names, areas)
            for (name, grouping), areas in zip(
                groupings.items(), rankings.areas_by_group, strict=True
            )
        }
    metrics["intervals"] = {"level": LEVEL, **_wilson_intervals(examples, len(class_names))}
    if with_intervals:
        metrics["intervals"] |= _bootstrap_intervals(examples, rankings, collectives, seed)
    return Evaluated(metrics, examples, rankings)


def _decision_metrics(examples: Examples, class_names: Sequence[str]) -> dict[str, Any]:
    confusion = confusion_matrix(examples.labels, examples.predicted, len(class_names))
    per_class = metrics_per_class(confusion, class_names)
    num_correct = int(np.trace(confusion))
    return {
        "top1": num_correct / len(examples),
        "top5": top_k(examples, 5) if len(class_names) > 5 else None,
        "num_correct": num_correct,
        "balanced_accuracy": balanced_accuracy(per_class),
        "matthews_correlation": matthews_correlation(confusion),
        "cohens_kappa": cohens_kappa(confusion),
        "averages": averages(per_class, num_correct),
        "per_class": per_class,
        "class_names": list(class_names),
        "confusion_matrix": confusion.tolist(),
    }


def _probability_metrics(examples: Examples) -> dict[str, Any]:
    return {
        "loss": mean(examples.losses),
        "brier_score": mean(examples.brier),
        "calibration": calibration(examples.confidences, examples.is_correct),
    }


def _add_rankings(metrics: dict[str, Any], rankings: Rankings) -> None:
    areas = [roc_auc(of_class.ranking) for of_class in rankings.classes]
    precisions = [average_precision(of_class.ranking) for of_class in rankings.classes]
    for row, area, precision in zip(metrics["per_class"], areas, precisions, strict=True):
        row["roc_auc"], row["average_precision"] = area, precision
    metrics["roc_auc"] = {
        "macro": _mean_of_defined(areas),
        "micro": roc_auc(rankings.micro),
        "one_vs_one": one_vs_one_auc(rankings.classes),
    }
    metrics["average_precision"] = {
        "macro": _mean_of_defined(precisions),
        "micro": average_precision(rankings.micro),
    }


def _wilson_intervals(examples: Examples, num_classes: int) -> dict[str, Any]:
    """Returns the intervals of the headline metrics that are proportions."""
    ks = {"top1": 1, **({"top5": 5} if num_classes > 5 else {})}
    return {name: wilson_interval(num_within(examples, k), len(examples)) for name, k in ks.items()}


def _bootstrap_intervals(
    examples: Examples, rankings: Rankings, collectives: Collectives, seed: int
) -> dict[str, Any]:
    """Returns the intervals of the others; the ranks divide the resamples. Collective."""
    topology, count = collectives.topology, num_resamples(len(examples))
    own = range(topology.rank, count, topology.size)
    by_rank = collectives.gather_json(
        resampled_metrics(examples, len(rankings.classes), seed=seed, numbers=own)
    )
    together = {name: [v for part in by_rank for v in part.get(name, ())] for name in by_rank[0]}
    if rankings.resampled is not None:
        together["roc_auc"] = resampled_macro_auc(
            rankings.resampled, collectives, num_examples=len(examples), seed=seed, count=count
        )
    return {
        "num_resamples": count,
        "degenerate": degenerate(together),
        **intervals(together),
    }


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
