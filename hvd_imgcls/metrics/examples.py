"""Per-example results of an evaluation.

Everything is computed row by row, in float64, by the rank that has the example; the rows of
all ranks, in the order of the examples, are bit-identical on any number of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# As in scikit-learn: probability 0 for the true class costs 36, not infinity.
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Examples:
    """Results of some examples, each of shape `[examples]`.

    Attributes:
        numbers: Example numbers.
        labels: Labels.
        predicted: The most probable classes; ties go to the lower class.
        places: Rank of the label among the classes by descending probability, with ties in class
            order: 0 means correct.
        confidences: Probabilities of the predicted classes.
        probabilities: Probabilities of the labels.
        losses: Cross-entropies, in nats.
        brier: Squared distances between the probabilities and the one-hot labels.
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
        """Returns a subset: a slice, a mask or indices."""
        return Examples(*(getattr(self, field.name)[index] for field in fields(self)))

    def in_order(self) -> Examples:
        """Returns the examples sorted by number."""
        return self[np.argsort(self.numbers, kind="stable")]

    @property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class equals the label, `[examples]`."""
        return np.asarray(self.places == 0)


def join(parts: list[Examples]) -> Examples:
    """Concatenates the examples of all parts."""
    return Examples(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(parts[0])
        )
    )


def softmax(logits: npt.NDArray[Any]) -> Floats:
    """Returns probabilities, float64, `[batch, num_classes]`; NaN for rows that are not finite."""
    logits = logits.astype(np.float64)
    # In a diverged model, infinity minus infinity is NaN, as it should be.
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
    """Returns the results of some examples.

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
    # |p|^2 - 2 p_label + 1, as a sum of squares to avoid cancellation.
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
    """Returns the fraction of examples whose label is among the `k` most probable classes."""
    return num_within(examples, k) / len(examples)


def num_within(examples: Examples, k: int) -> int:
    """Returns the number of examples whose label is among the `k` most probable classes."""
    return int((examples.places < k).sum())


def mean(values: Floats) -> float:
    """Returns the mean with a correctly rounded sum, which does not depend on the order."""
    return math.fsum(values.tolist()) / len(values)
