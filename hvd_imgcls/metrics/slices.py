"""Metrics of slices: subsets of the examples with equal values in a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.calibration import calibration
from hvd_imgcls.metrics.confusion import (
    averages,
    balanced_accuracy,
    confusion_matrix,
    metrics_per_class,
)
from hvd_imgcls.metrics.examples import Examples, mean, num_within, top_k
from hvd_imgcls.metrics.proportions import wilson_interval
from hvd_imgcls.metrics.ranking import rank, roc_auc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# From the name of a column to its value for every example, by number; None is a value too.
Columns = Mapping[str, Sequence[str | None]]


class Grouping:
    """The examples of an evaluation grouped by the values of one column.

    Args:
        values: Value of every example, by number.
        examples: All examples, in order.
    """

    def __init__(self, values: Sequence[str | None], examples: Examples) -> None:
        of_each = [values[number] for number in examples.numbers.tolist()]
        self.values = sorted(set(of_each), key=lambda value: (value is None, value or ""))
        """The distinct values, sorted, None last."""
        place_of = {value: place for place, value in enumerate(self.values)}
        self.places = np.array([place_of[value] for value in of_each], np.int64)
        """Index into `values` for every example, `[num_examples]`, in order."""


def areas_by_group(
    scores: Floats, is_positive: npt.NDArray[np.bool_], groups: Integers, num_groups: int
) -> list[float | None]:
    """Returns the area under the ROC curve of one class, separately for each group.

    Args:
        scores: Probabilities of the class, `[num_examples]`, finite.
        is_positive: Whether an example belongs to the class, `[num_examples]`.
        groups: 0-based, `[num_examples]`.
        num_groups: Number of groups.
    """
    areas = []
    for group in range(num_groups):
        is_inside = groups == group
        inside = scores[is_inside]
        areas.append(roc_auc(rank(inside[is_positive[is_inside]], inside)))
    return areas


def metrics_by_group(
    grouping: Grouping,
    examples: Examples,
    class_names: Sequence[str],
    areas: Sequence[Sequence[float | None]],
) -> list[dict[str, Any]]:
    """Returns the metrics of each group.

    Args:
        grouping: The groups.
        examples: All examples, in order.
        class_names: `[num_classes]`.
        areas: Areas under the ROC curve by class and group, `[num_classes][num_groups]`.
    """
    rows = []
    for place, value in enumerate(grouping.values):
        inside = examples[grouping.places == place]
        confusion = confusion_matrix(inside.labels, inside.predicted, len(class_names))
        per_class = metrics_per_class(confusion, class_names)
        num_correct, has_top5 = int(np.trace(confusion)), len(class_names) > 5
        defined = [of_class[place] for of_class in areas]
        defined_areas = [area for area in defined if area is not None]
        rows.append(
            {
                "value": value,
                "num_examples": len(inside),
                "loss": mean(inside.losses),
                "top1": num_correct / len(inside),
                "top5": top_k(inside, 5) if has_top5 else None,
                "intervals": {
                    "top1": wilson_interval(num_correct, len(inside)),
                    "top5": wilson_interval(num_within(inside, 5), len(inside))
                    if has_top5
                    else None,
                },
                "balanced_accuracy": balanced_accuracy(per_class),
                "macro_f1": averages(per_class, num_correct)["macro"]["f1"],
                "roc_auc": math.fsum(defined_areas) / len(defined_areas) if defined_areas else None,
                "expected_calibration_error": calibration(inside.confidences, inside.is_correct)[
                    "expected_calibration_error"
                ],
            }
        )
    return rows
