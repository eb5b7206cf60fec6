"""Metrics without the probabilities of all classes are those with them."""

import numpy as np
import pytest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.metrics import Collector, ExampleCollector, evaluate, evaluation

NAMES = tuple("abcdefgh")
NUMBER = 120
NEED_SCORES = {"roc_auc", "average_precision"}
LISTED = {
    "averages",
    "cohens_kappa",
    "confusion_matrix",
    "matthews_correlation",
    "per_class",
}


def collected(kind, labels, logits):
    """Returns the metrics and whether there are rankings; padding and a bad image are left out."""
    options = {"capacity": NUMBER} if kind is Collector else {}
    collector = kind(num_classes=len(NAMES), num_examples=NUMBER, **options)
    numbers = np.arange(NUMBER)
    collector.leave_out(numbers[:1])
    numbers[0] = -1
    for block in np.split(numbers, 4):
        collector.add(block, labels[block], logits[block])
    evaluated = evaluate(collector, NAMES, SingleProcessCollectives(), seed=3)
    return evaluated.metrics, evaluated.rankings is not None


@pytest.fixture(scope="module")
def outputs():
    random = np.random.default_rng(0)
    # The last class has no example.
    labels = random.integers(0, len(NAMES) - 1, NUMBER)
    return labels, random.normal(size=(NUMBER, len(NAMES))).astype(np.float32).round(1)


@pytest.fixture
def every(outputs):
    metrics, has_rankings = collected(Collector, *outputs)
    assert has_rankings
    for row in metrics["per_class"]:
        for name in NEED_SCORES:
            del row[name]
    del metrics["intervals"]["roc_auc"]
    return {key: value for key, value in metrics.items() if key not in NEED_SCORES}


def test_they_are_the_same_bits(outputs, every):
    metrics, has_rankings = collected(ExampleCollector, *outputs)
    assert not has_rankings
    assert metrics == every


def test_many_classes_are_not_listed(outputs, every, monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_LISTED_CLASSES", len(NAMES) - 1)
    metrics, _ = collected(ExampleCollector, *outputs)
    assert metrics.pop("largest_class") == max(row["support"] for row in every["per_class"])
    assert metrics == {key: value for key, value in every.items() if key not in LISTED}


def test_outputs_that_are_not_finite_leave_only_counts(outputs):
    labels, logits = outputs
    logits = logits.copy()
    logits[5, 2] = np.nan
    got, expected = (collected(kind, labels, logits)[0] for kind in (ExampleCollector, Collector))
    assert got == expected
    assert got["num_not_finite"] == 1


def test_no_example_is_an_error():
    collector = ExampleCollector(num_classes=len(NAMES), num_examples=1)
    collector.leave_out(np.array([0]))
    with pytest.raises(BadImagesError, match="none of the 1 held-out images"):
        evaluate(collector, NAMES, SingleProcessCollectives())
