"""Bootstrap intervals: what a resample is, and how wide they are."""

import math

import numpy as np
import pytest
import sklearn.metrics as theirs

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.intervals import ResampledAuc, num_resamples, resample


def test_a_resample_is_the_same_whoever_draws_it_and_others_differ():
    first = resample(100, seed=1, number=5)
    np.testing.assert_array_equal(first, resample(100, seed=1, number=5))
    assert (first != resample(100, seed=1, number=6)).any()
    assert (first != resample(100, seed=2, number=5)).any()
    assert set(first) <= set(range(100))


def test_there_are_a_thousand_and_fewer_of_very_many_examples():
    assert [num_resamples(n) for n in (1, 50_000, 2_000_000, 10**8)] == [1000, 1000, 500, 200]


@pytest.mark.parametrize("decimals", [1, 6])
def test_area_of_a_resample_is_that_of_the_examples_drawn(decimals):
    random = np.random.default_rng(0)
    scores = random.uniform(size=80).round(decimals)
    is_positive = random.uniform(size=80) < 0.3
    resampled = ResampledAuc(scores, is_positive)
    for number in range(5):
        drawn = resample(80, seed=0, number=number)
        expected = theirs.roc_auc_score(is_positive[drawn], scores[drawn])
        actual = resampled.of(np.bincount(drawn, minlength=80))
        assert actual == pytest.approx(expected, abs=1e-12)


def test_area_of_a_resample_without_positive_examples_is_not_a_number():
    resampled = ResampledAuc(np.array([0.1, 0.9]), np.array([False, True]))
    assert math.isnan(resampled.of(np.array([2, 0])))


def test_interval_of_the_balanced_accuracy_is_as_wide_as_that_of_a_binomial_distribution():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 2000)
    logits = random.normal(size=(2000, 3)).astype(np.float32)
    logits[np.arange(2000), labels] += 1
    collector = Collector(num_classes=3, num_examples=2000, capacity=2000)
    collector.add(np.arange(2000), labels, logits)
    metrics = evaluate(collector, ("a", "b", "c"), SingleProcessCollectives(), seed=1).metrics
    # With classes of about equal size, the balanced accuracy varies like the accuracy.
    value, (low, high) = metrics["balanced_accuracy"], metrics["intervals"]["balanced_accuracy"]
    deviation = math.sqrt(value * (1 - value) / 2000)
    assert low == pytest.approx(value - 1.96 * deviation, abs=0.2 * deviation)
    assert high == pytest.approx(value + 1.96 * deviation, abs=0.2 * deviation)
    for name, value in (
        ("loss", metrics["loss"]),
        ("balanced_accuracy", metrics["balanced_accuracy"]),
        ("macro_f1", metrics["averages"]["macro"]["f1"]),
        ("roc_auc", metrics["roc_auc"]["macro"]),
    ):
        low, high = metrics["intervals"][name]
        assert low < value < high
    assert metrics["intervals"]["num_resamples"] == 1000
    assert metrics["intervals"]["degenerate"] == []
    # As the figure itself: of three classes, all are among the first five.
    assert "top5" not in metrics["intervals"]
