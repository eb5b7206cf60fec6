"""Calibration of probabilities: expected calibration error, reliability diagram."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.metrics.proportions import wilson_interval

NUM_BINS = 15
"""As in Guo et al. 2017 (arXiv:1706.04599, section 4)."""


def calibration(
    confidence: npt.NDArray[np.float64],
    is_correct: npt.NDArray[np.bool_],
    num_bins: int = NUM_BINS,
) -> dict[str, Any]:
    """Returns expected and maximum calibration error, and the reliability diagram.

    Bins have equal width and include their upper but not their lower edge; the first includes 0
    too. The expected error is the mean over examples of |accuracy - confidence| of their
    bin (Guo et al. 2017, arXiv:1706.04599, equation 3); the maximum error is the largest of a bin.

    Args:
        confidence: Highest probability of every example, in [0, 1], `[num_examples]`, in an
            order that does not depend on the number of ranks.
        is_correct: Whether that class is correct, `[num_examples]`.
        num_bins: At least 1.
    """
    # ceil(confidence * bins) - 1 would be inexact: 0.6 * 15 is above 9.
    edges = np.arange(1, num_bins) / num_bins
    places = np.searchsorted(edges, confidence, "left")
    counts = np.bincount(places, minlength=num_bins)
    correct = np.bincount(places[is_correct], minlength=num_bins)
    order = np.argsort(places, kind="stable")
    parts = np.split(confidence[order], np.cumsum(counts)[:-1])
    bins, gaps = [], []
    for index, (count, right, part) in enumerate(
        zip(counts.tolist(), correct.tolist(), parts, strict=True)
    ):
        row = {
            "from": index / num_bins,
            "to": (index + 1) / num_bins,
            "count": count,
            "accuracy": right / count if count else None,
            "intervals": {"accuracy": wilson_interval(right, count)},
            "confidence": math.fsum(part.tolist()) / count if count else None,
        }
        bins.append(row)
        if count:
            gaps.append((count, abs(row["accuracy"] - row["confidence"])))
    return {
        "expected_calibration_error": math.fsum(count * gap for count, gap in gaps)
        / len(confidence),
        "maximum_calibration_error": max(gap for _, gap in gaps),
        "bins": bins,
    }
