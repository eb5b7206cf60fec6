"""All metrics of an evaluation, as stored in `evaluation.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.class_lists import repeated
from hvd_imgcls.metrics.by_example import MAX_LISTED_CLASSES, ExampleCollector, count_metrics
from hvd_imgcls.metrics.calibration import calibration
from hvd_imgcls.metrics.collecting import Collector
from hvd_imgcls.metrics.confusion import (
    Integers,
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
    ResampledAuc,
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
        rankings: Rankings of the examples by probability; None if some are not finite, or if
            probabilities were not collected.
    """

    metrics: dict[str, Any]
    examples: Examples
    rankings: Rankings | None

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are finite, and the metrics so defined."""
        return not self.metrics["num_not_finite"]


def evaluate(
    collector: Collector | ExampleCollector,
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
        collector: Predictions that this rank has collected. Metrics that need the probabilities of
            all classes are left out if it is an `ExampleCollector`.
        class_names: `[num_classes]`.
        collectives: Communication between the ranks.
        seed: Seed of the bootstrap.
        with_intervals: Whether to compute the bootstrap intervals; others are always computed.
        columns: Columns of the examples that define slices.
        targets: Recalls and precisions for which the threshold of each class is reported.

    Raises:
        BadImagesError: If no example could be decoded.
        ConfigError: If the class names do not fit the collected predictions.
    """
    _require_names(class_names, collector.num_classes)
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
    averaged = collector.averaged_classes
    if isinstance(collector, ExampleCollector):
        return _without_rankings(
            metrics, examples, class_names, collectives, seed if with_intervals else None, averaged
        )
    metrics |= _decision_metrics(examples, class_names, averaged)
    groupings = {name: Grouping(of, examples) for name, of in (columns or {}).items()}
    rankings = gather_rankings(collector, examples, collectives, list(groupings.values()))
    _add_rankings(metrics, rankings)
    if targets.recalls or targets.precisions:
        for row, of_class in zip(metrics["per_class"], rankings.classes, strict=True):
            row["thresholds"] = operating_points(of_class.ranking, targets)
    if groupings:
        metrics["slices"] = {
            name: metrics_by_group(grouping, examples, class_names, areas, averaged)
            for (name, grouping), areas in zip(
                groupings.items(), rankings.areas_by_group, strict=True
            )
        }
    metrics["intervals"] = {"level": LEVEL, **_wilson_intervals(examples, len(class_names))}
    if with_intervals:
        metrics["intervals"] |= _bootstrap_intervals(
            examples, len(class_names), rankings.resampled, collectives, seed, averaged
        )
    return Evaluated(metrics, examples, rankings)


def _without_rankings(
    metrics: dict[str, Any],
    examples: Examples,
    class_names: Sequence[str],
    collectives: Collectives,
    seed: int | None,
    averaged: Integers | None,
) -> Evaluated:
    """Returns the metrics of results of examples; bootstrap intervals if there is a seed."""
    num_classes = len(class_names)
    if num_classes <= MAX_LISTED_CLASSES:
        metrics |= _decision_metrics(examples, class_names, averaged)
    else:
        metrics |= {**count_metrics(examples, num_classes), "class_names": list(class_names)}
    metrics["intervals"] = {"level": LEVEL, **_wilson_intervals(examples, num_classes)}
    if seed is not None:
        metrics["intervals"] |= _bootstrap_intervals(
            examples, num_classes, None, collectives, seed, averaged
        )
    return Evaluated(metrics, examples, None)


def _require_names(class_names: Sequence[str], num_classes: int) -> None:
    twice = repeated(class_names)
    if len(class_names) != num_classes or twice is not None:
        raise ConfigError(
            "class_names",
            got=f"{len(class_names):,} names" + (f", {twice!r} twice" if twice is not None else ""),
            expected=f"a name of its own for each of the {num_classes:,} classes",
            fix="pass them in the order of the columns of the probabilities",
        )


def _decision_metrics(
    examples: Examples, class_names: Sequence[str], averaged: Integers | None
) -> dict[str, Any]:
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
        "averages": averages(per_class, num_correct, averaged),
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
    examples: Examples,
    num_classes: int,
    resampled: dict[int, ResampledAuc] | None,
    collectives: Collectives,
    seed: int,
    averaged: Integers | None,
) -> dict[str, Any]:
    """Returns the intervals of the others; the ranks divide the resamples. Collective."""
    topology, count = collectives.topology, num_resamples(len(examples))
    own = range(topology.rank, count, topology.size)
    by_rank = collectives.gather_json(
        resampled_metrics(examples, num_classes, seed=seed, numbers=own, averaged=averaged)
    )
    together = {name: [v for part in by_rank for v in part.get(name, ())] for name in by_rank[0]}
    if resampled is not None:
        together["roc_auc"] = resampled_macro_auc(
            resampled, collectives, num_examples=len(examples), seed=seed, count=count
        )
    return {
        "num_resamples": count,
        "degenerate": degenerate(together),
        **intervals(together),
    }


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
