"""Confidence intervals of proportions: the formula, their coverage, and where they appear."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.proportions import wilson_interval
from hvd_imgcls.workflows.evaluate import describe_metrics

NAMES = [f"class {number}" for number in range(7)]


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_the_literature(part, whole, low, high):
    assert wilson_interval(part, whole) == pytest.approx([low, high], abs=5e-5)


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_intervals_are_those_of_scipy_and_contain_the_proportion(whole, share):
    part = min(whole, int(whole * share))
    low, high = wilson_interval(part, whole)
    theirs = binomtest(part, whole).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= low <= part / whole <= high <= 1
    assert (low == 0) == (part == 0)
    assert (high == 1) == (part == whole)


@pytest.mark.parametrize("whole", [20, 359])
def test_intervals_contain_the_true_proportion_in_about_95_of_100_samples(whole):
    random = np.random.default_rng(0)
    true = random.uniform(size=20_000)
    intervals = np.array([wilson_interval(part, whole) for part in range(whole + 1)])
    drawn = intervals[random.binomial(whole, true)]
    assert ((drawn[:, 0] <= true) & (true <= drawn[:, 1])).mean() == pytest.approx(0.95, abs=0.006)


def test_nothing_has_no_interval():
    assert wilson_interval(0, 0) is None


def evaluated(labels, predicted, **options):
    """The metrics of an evaluation with these predictions, without doubt."""
    collector = Collector(num_classes=7, num_examples=len(labels), capacity=len(labels))
    logits = 20 * np.eye(7, dtype=np.float32)[predicted]
    collector.add(np.arange(len(labels)), labels, logits)
    return evaluate(collector, NAMES, SingleProcessCollectives(), **options).metrics


def test_without_errors_the_interval_of_the_accuracy_is_no_point_and_the_bootstrap_says_it_is_one():
    labels = np.arange(359) % 6
    metrics = evaluated(labels, labels)
    assert metrics["intervals"]["top1"] == [pytest.approx(0.98941, abs=5e-6), 1.0]
    assert metrics["intervals"]["top5"] == metrics["intervals"]["top1"]
    assert {"balanced_accuracy", "macro_f1", "roc_auc"} <= set(metrics["intervals"]["degenerate"])
    assert "(359 of 359; 95 % CI 0.9894 to 1.0000)" in describe_metrics(metrics)


def test_beside_the_accuracy_stands_what_always_predicting_the_largest_class_would_give():
    labels = np.array([0] * 31 + [1] * 29)
    described = describe_metrics(evaluated(labels, np.zeros(60, int)))
    assert described.startswith("held-out accuracy 0.5167 (31 of 60; ")
    assert "balanced 0.5000, largest class 0.5167, loss" in described


def test_classes_slices_and_bins_have_intervals_of_their_own_counts():
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 300)
    predicted = np.where(random.uniform(size=300) < 0.8, labels, 0)
    cameras = ["old" if number % 3 else None for number in range(300)]
    metrics = evaluated(labels, predicted, columns={"camera": cameras}, with_intervals=False)
    assert set(metrics["intervals"]) == {"level", "top1", "top5"}
    for label, row in enumerate(metrics["per_class"][:6]):
        right = int(((labels == label) & (predicted == label)).sum())
        assert row["intervals"] == {
            "precision": wilson_interval(right, row["num_predicted"]),
            "recall": wilson_interval(right, row["support"]),
        }
    assert metrics["per_class"][6]["intervals"] == {"precision": None, "recall": None}
    for row in metrics["slices"]["camera"]:
        inside = np.array([camera == row["value"] for camera in cameras])
        right = int((labels == predicted)[inside].sum())
        assert row["intervals"]["top1"] == wilson_interval(right, int(inside.sum()))
    (last,) = (row for row in metrics["calibration"]["bins"] if row["count"])
    assert last["intervals"]["accuracy"] == metrics["intervals"]["top1"]
