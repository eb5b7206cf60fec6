"""What is known of every example after a model has looked at it.

Everything here is computed row by row, in float64, by the one rank that has the example; the
rows of all ranks, put in the order of the examples, are the same bytes on any number of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# scikit-learn's: a probability of 0 for what happened costs 36, not infinity.
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Examples:
    """Figures of some examples, each of shape `[examples]`.

    Attributes:
        numbers: Example numbers.
        labels: Classes.
        predicted: The most probable classes; of equal ones the first.
        places: How many classes are more probable than the label's, or as probable and before
            it: 0 is right.
        confidences: Probabilities of the predicted classes.
        probabilities: Probabilities of the labels' classes.
        losses: Cross-entropies, in nats.
        brier: Squared distances between the probabilities and what is.
    """

    numbers: Integers
    labels: Integers
    predicted: Integers
    places: Integers
    confidences: Floats
    probabilities: Floats
    losses: Floats
    brier: Floats

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Examples:
        """Returns some of them: a slice, a mask or indices."""
        return Examples(*(getattr(self, field.name)[index] for field in fields(self)))

    def in_order(self) -> Examples:
        """Returns them by rising number."""
        return self[np.argsort(self.numbers, kind="stable")]

    @property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the label's, `[examples]`."""
        return np.asarray(self.places == 0)


def join(parts: list[Examples]) -> Examples:
    """Returns the examples of all parts, one after another."""
    return Examples(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(parts[0])
        )
    )


def softmax(logits: npt.NDArray[Any]) -> Floats:
    """Returns probabilities, float64, `[batch, num_classes]`; NaN for a row that is not finite."""
    logits = logits.astype(np.float64)
    # Of a diverged model: infinity minus infinity, which is not a number, as it should be.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def cross_entropies(labels: Integers, logits: npt.NDArray[Any]) -> Floats:
    """Returns the cross-entropy of every example, `[batch]`, in float64.

    Args:
        labels: `[batch]`.
        logits: `[batch, num_classes]`, any float type.
    """
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
    of_label: Floats = np.take_along_axis(shifted, labels[:, np.newaxis], axis=-1)[:, 0]
    losses: Floats = np.log(np.exp(shifted).sum(axis=-1)) - of_label
    return losses


def losses_of_probabilities(labels: Integers, probabilities: Floats) -> Floats:
    """Returns minus the logarithm of the labels' probabilities, at most 36.04, `[batch]`."""
    of_label = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=-1)[:, 0]
    losses: Floats = -np.log(np.clip(of_label, _LEAST_PROBABILITY, None))
    return losses


def examples_of(
    numbers: Integers, labels: Integers, probabilities: Floats, losses: Floats
) -> Examples:
    """Returns what is known of some examples.

    Args:
        numbers: Example numbers, `[batch]`.
        labels: `[batch]`.
        probabilities: `[batch, num_classes]`.
        losses: `[batch]`.
    """
    of_label = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=-1)
    is_before = np.arange(probabilities.shape[-1]) < labels[:, np.newaxis]
    places = (probabilities > of_label).sum(axis=-1) + (
        (probabilities == of_label) & is_before
    ).sum(axis=-1)
    # |p|^2 - 2 p_label + 1, as a sum of squares: nothing cancels.
    distances = probabilities.copy()
    np.put_along_axis(distances, labels[:, np.newaxis], of_label - 1.0, axis=-1)
    predicted = probabilities.argmax(axis=-1)
    return Examples(
        numbers=numbers.astype(np.int64),
        labels=labels.astype(np.int64),
        predicted=predicted,
        places=places,
        confidences=np.take_along_axis(probabilities, predicted[:, np.newaxis], axis=-1)[:, 0],
        probabilities=of_label[:, 0],
        losses=losses,
        brier=np.square(distances).sum(axis=-1),
    )


def top_k(examples: Examples, k: int) -> float:
    """Returns the part of the examples whose label is among the `k` most probable classes."""
    return int((examples.places < k).sum()) / len(examples)


def mean(values: Floats) -> float:
    """Returns the mean, of a sum that is correctly rounded: in any order the same."""
    return math.fsum(values.tolist()) / len(values)
