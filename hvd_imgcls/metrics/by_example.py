"""Metrics that follow from few numbers per example, without the probabilities of all classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.examples import (
    Examples,
    cross_entropies,
    examples_of,
    join,
    softmax,
    top_k,
)

Integers = npt.NDArray[np.int64]

MAX_LISTED_CLASSES = 1000
"""With more classes, metrics do not list them, and there is no confusion matrix."""


class ExampleCollector:
    """Collects the results of examples. See `Collector`, which also keeps all probabilities.

    Args:
        num_classes: Number of classes.
        num_examples: Number of examples of all ranks.
        averaged_classes: Classes over which metrics are averaged, if the examples are of a subset
            of the classes; None for all.
    """

    def __init__(
        self, *, num_classes: int, num_examples: int, averaged_classes: Integers | None = None
    ) -> None:
        self.num_classes = num_classes
        self.num_examples = num_examples
        self.averaged_classes = averaged_classes
        self.times_unreadable = np.zeros(num_examples, np.int64)
        nothing = np.empty(0, np.int64)
        self._parts = [examples_of(nothing, nothing, np.empty((0, 1)), np.empty(0))]

    def examples(self) -> Examples:
        """Returns the results of the collected examples."""
        return join(self._parts)

    def add(self, numbers: Integers, labels: Integers, logits: npt.NDArray[np.floating]) -> None:
        """Adds a block: see `Collector.add`."""
        is_real = numbers >= 0
        numbers, labels, logits = numbers[is_real], labels[is_real], logits[is_real]
        losses = cross_entropies(labels, logits)
        self._parts.append(examples_of(numbers, labels, softmax(logits), losses))

    def add_results(self, examples: Examples) -> None:
        """Adds the results of a block; examples with negative numbers are padding."""
        self._parts.append(examples[examples.numbers >= 0])

    def leave_out(self, numbers: Integers) -> None:
        """Records examples that could not be decoded, `[left_out]`."""
        np.add.at(self.times_unreadable, numbers, 1)


def count_metrics(examples: Examples, num_classes: int) -> dict[str, Any]:
    """Returns the metrics of the predicted classes, in memory for a few numbers per class.

    Args:
        examples: All examples, in order.
        num_classes: Number of classes.
    """
    support = np.bincount(examples.labels, minlength=num_classes)
    right = np.bincount(examples.labels[examples.is_correct], minlength=num_classes)
    has_any = support > 0
    num_correct = int(right.sum())
    recalls = right[has_any] / support[has_any]
    return {
        "top1": num_correct / len(examples),
        "top5": top_k(examples, 5) if num_classes > 5 else None,
        "num_correct": num_correct,
        "balanced_accuracy": math.fsum(recalls.tolist()) / len(recalls),
        "largest_class": int(support.max()),
    }
