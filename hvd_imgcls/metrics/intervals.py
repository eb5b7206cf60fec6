"""Bootstrap confidence intervals of metrics that are not proportions, seeded.

Every resample has its own random generator, seeded with its number: any rank draws the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.metrics.examples import Examples
from hvd_imgcls.metrics.proportions import LEVEL
from hvd_imgcls.metrics.transpose import gather_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Recommended for 2.5 % on both sides by Efron and Tibshirani 1993, "An Introduction to the
# Bootstrap", section 14.3; fewer if it would take minutes, never below the second number.
_RESAMPLES, _LEAST_RESAMPLES, _MAX_DRAWS = 1000, 200, 10**9


def num_resamples(num_examples: int) -> int:
    """Returns the number of resamples, which depends only on the number of examples."""
    return max(_LEAST_RESAMPLES, min(_RESAMPLES, _MAX_DRAWS // num_examples))


def resample(num_examples: int, *, seed: int, number: int) -> Integers:
    """Draws `num_examples` examples with replacement, `[num_examples]`.

    Args:
        num_examples: Number of examples of all ranks.
        seed: Seed of the evaluation.
        number: Number of the resample.
    """
    generator = np.random.Generator(np.random.PCG64([seed, number]))
    return generator.integers(0, num_examples, num_examples)


def resampled_metrics(
    examples: Examples, num_classes: int, *, seed: int, numbers: Iterable[int]
) -> dict[str, list[float]]:
    """Returns the headline metrics that are not proportions, of some resamples, by name.

    Args:
        examples: All examples, in order.
        num_classes: Number of classes.
        seed: Seed of the evaluation.
        numbers: Numbers of the resamples.
    """
    metrics: dict[str, list[float]] = {}
    is_correct = examples.is_correct
    for number in numbers:
        drawn = resample(len(examples), seed=seed, number=number)
        labels, predicted = examples.labels[drawn], examples.predicted[drawn]
        right = np.bincount(labels[is_correct[drawn]], minlength=num_classes)
        support = np.bincount(labels, minlength=num_classes)
        num_predicted = np.bincount(predicted, minlength=num_classes)
        has_any, is_present = support > 0, support + num_predicted > 0
        row = {
            "loss": examples.losses[drawn].sum() / len(drawn),
            "balanced_accuracy": (right[has_any] / support[has_any]).mean(),
            "macro_f1": (2 * right[is_present] / (support + num_predicted)[is_present]).mean(),
        }
        for name, value in row.items():
            metrics.setdefault(name, []).append(float(value))
    return metrics


def intervals(by_number: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Returns lower and upper bound of the confidence interval of every metric that has values.

    The percentile interval (Efron 1979, doi:10.1214/aos/1176344552).

    Args:
        by_number: Values of the resamples by name; NaN where undefined.
    """
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    return {
        name: np.nanpercentile(values, ends).tolist()
        for name, values in by_number.items()
        if not np.isnan(values).all()
    }


def degenerate(by_number: Mapping[str, Sequence[float]]) -> list[str]:
    """Returns the metrics whose values are equal in all resamples.

    Their interval is a point, which says nothing about the uncertainty: if no example is wrong,
    none is in any resample.

    Args:
        by_number: Values of the resamples by name; NaN where undefined.
    """
    distinct = {
        name: {value for value in values if not np.isnan(value)}
        for name, values in by_number.items()
    }
    return sorted(name for name, values in distinct.items() if len(values) == 1)


class ResampledAuc:
    """Area under the ROC curve of resamples, one-vs-rest for one class.

    Args:
        scores: Probabilities of the class, `[num_examples]`, finite.
        is_positive: Whether an example belongs to the class, `[num_examples]`.
    """

    def __init__(self, scores: Floats, is_positive: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ascending = scores[self._order]
        self._is_positive = is_positive[self._order]
        positives = ascending[self._is_positive]
        self._first = np.searchsorted(ascending, positives, "left")
        self._end = np.searchsorted(ascending, positives, "right")

    def of(self, times: Integers) -> float:
        """Returns the area for examples repeated `times` times; NaN if one side is empty.

        Args:
            times: `[num_examples]`, in the order of the scores.
        """
        sorted_times = times[self._order]
        negatives = np.concatenate([[0], np.cumsum(np.where(self._is_positive, 0, sorted_times))])
        positives = sorted_times[self._is_positive]
        pairs = 2 * int(positives.sum()) * int(negatives[-1])
        won = positives @ (negatives[self._first] + negatives[self._end])
        return int(won) / pairs if pairs else float("nan")


def resampled_macro_auc(
    resampled: Mapping[int, ResampledAuc],
    collectives: Collectives,
    *,
    num_examples: int,
    seed: int,
    count: int,
) -> list[float]:
    """Returns the macro-average area under the ROC curve of every resample.

    Averages over the classes that have positive and negative examples in the resample; NaN if
    there are none.

    Collective: every rank must call this.

    Args:
        resampled: This rank's classes.
        collectives: Communication between the ranks.
        num_examples: Number of examples of all ranks.
        seed: Seed of the evaluation.
        count: Number of resamples.
    """
    areas = np.empty((len(resampled), count), np.float64)
    for number in range(count) if resampled else ():
        drawn = resample(num_examples, seed=seed, number=number)
        times = np.bincount(drawn, minlength=num_examples)
        areas[:, number] = [one.of(times) for one in resampled.values()]
    numbers = gather_rows(collectives, "resampled.classes", np.array(list(resampled), np.int64))
    # By class, so that the order of the sum does not depend on the number of ranks.
    by_class = gather_rows(collectives, "resampled.areas", areas)[np.argsort(numbers)]
    is_defined = ~np.isnan(by_class)
    sums, counts = np.where(is_defined, by_class, 0.0).sum(axis=0), is_defined.sum(axis=0)
    with np.errstate(invalid="ignore"):
        means: list[float] = (sums / counts).tolist()
    return means
