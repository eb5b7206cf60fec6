"""Notable examples: the most confident errors and the least confident correct predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.examples import Examples

NUM_SHOWN = 25


def notable_examples(
    examples: Examples,
    class_names: Sequence[str],
    name_of: Callable[[int], str],
    count: int = NUM_SHOWN,
) -> dict[str, list[dict[str, Any]]]:
    """Returns the errors of highest and the correct predictions of lowest confidence.

    Ties are ordered by example number.

    Args:
        examples: All examples, in order.
        class_names: `[num_classes]`.
        name_of: Maps an example number to the name of its image.
        count: Maximum number of each.
    """
    is_correct = examples.is_correct

    def rows(chosen: Examples) -> list[dict[str, Any]]:
        return [_row(chosen, index, class_names, name_of) for index in range(len(chosen))]

    return {
        "most_confident_mistakes": rows(_first(examples[~is_correct], -1, count)),
        "least_confident_hits": rows(_first(examples[is_correct], 1, count)),
    }


def _first(examples: Examples, sign: int, count: int) -> Examples:
    order: npt.NDArray[np.intp] = np.argsort(sign * examples.confidences, kind="stable")
    return examples[order[:count]]


def _row(
    examples: Examples, index: int, class_names: Sequence[str], name_of: Callable[[int], str]
) -> dict[str, Any]:
    number = int(examples.numbers[index])
    return {
        "example": number,
        "image": name_of(number),
        "label": class_names[examples.labels[index]],
        "predicted": class_names[examples.predicted[index]],
        "confidence": float(examples.confidences[index]),
        "probability_of_label": float(examples.probabilities[index]),
    }
