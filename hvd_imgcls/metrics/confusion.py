"""Metrics that follow from the confusion matrix, computed in integers as far as possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.proportions import wilson_interval

Integers = npt.NDArray[np.int64]


def confusion_matrix(labels: Integers, predicted: Integers, num_classes: int) -> Integers:
    """Returns the number of examples by label and predicted class, `[num_classes, num_classes]`."""
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def metrics_per_class(confusion: Integers, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns precision, recall, F1, support and confidence intervals of every class, in order.

    None where undefined: the recall of a class without examples, the precision of a class that
    is never predicted, and F1 if both are undefined.

    Args:
        confusion: By label and predicted class, `[num_classes, num_classes]`.
        class_names: `[num_classes]`.
    """
    right = np.diagonal(confusion).tolist()
    support, predicted = confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    return [
        {
            "name": name,
            "support": has,
            "num_predicted": num_predicted,
            "precision": _ratio(true, num_predicted),
            "recall": _ratio(true, has),
            "f1": _ratio(2 * true, has + num_predicted),
            "intervals": {
                "precision": wilson_interval(true, num_predicted),
                "recall": wilson_interval(true, has),
            },
        }
        for name, true, has, num_predicted in zip(
            class_names, right, support, predicted, strict=True
        )
    ]


def averages(per_class: Sequence[dict[str, Any]], num_correct: int) -> dict[str, dict[str, float]]:
    """Returns macro, micro and weighted averages of precision, recall and F1.

    As in scikit-learn: averages over the classes that have examples or are predicted, with
    undefined values counted as 0. `weighted` weights by support. With one label and one
    prediction per example, all micro averages equal the accuracy.

    Args:
        per_class: Result of `metrics_per_class`.
        num_correct: Number of correctly predicted examples.
    """
    present = [row for row in per_class if row["support"] or row["num_predicted"]]
    num_examples = sum(row["support"] for row in present)
    names = ("precision", "recall", "f1")
    return {
        "macro": {
            name: math.fsum(row[name] or 0.0 for row in present) / len(present) for name in names
        },
        "micro": dict.fromkeys(names, num_correct / num_examples),
        "weighted": {
            name: math.fsum((row[name] or 0.0) * row["support"] for row in present) / num_examples
            for name in names
        },
    }


def balanced_accuracy(per_class: Sequence[dict[str, Any]]) -> float:
    """Returns the mean recall of the classes that have examples."""
    recalls = [row["recall"] for row in per_class if row["support"]]
    return math.fsum(recalls) / len(recalls)


def matthews_correlation(confusion: Integers) -> float:
    """Returns Matthews's correlation coefficient for any number of classes, in [-1, 1].

    The R_K of Gorodkin 2004 (doi:10.1016/j.compbiolchem.2004.09.006). 0 if all examples have the
    same label or the same prediction, as in scikit-learn.
    """
    of_label, of_predicted, num_examples, num_correct = _margins(confusion)
    products = sum(a * b for a, b in zip(of_label, of_predicted, strict=True))
    covariance = num_correct * num_examples - products
    variances = (num_examples**2 - sum(a * a for a in of_label)) * (
        num_examples**2 - sum(b * b for b in of_predicted)
    )
    return covariance / math.sqrt(variances) if variances else 0.0


def cohens_kappa(confusion: Integers) -> float | None:
    """Returns the agreement beyond chance (Cohen 1960, doi:10.1177/001316446002000104).

    None if all examples have the same label and it is always predicted.
    """
    of_label, of_predicted, num_examples, num_correct = _margins(confusion)
    by_chance = sum(a * b for a, b in zip(of_label, of_predicted, strict=True))
    # (observed - expected) / (1 - expected), times the square of the number of examples.
    return _ratio(num_correct * num_examples - by_chance, num_examples**2 - by_chance)


def _margins(confusion: Integers) -> tuple[list[int], list[int], int, int]:
    """Returns examples by label, by predicted class, in total, and the correct ones."""
    return (
        confusion.sum(axis=1).tolist(),
        confusion.sum(axis=0).tolist(),
        int(confusion.sum()),
        int(np.trace(confusion)),
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
