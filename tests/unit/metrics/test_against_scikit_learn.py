"""All figures agree with scikit-learn on the same predictions, to 1e-12."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate

AGREE = {"rel": 1e-12, "abs": 1e-12}


def ours(labels, probabilities, **options):
    num_examples, num_classes = probabilities.shape
    collector = Collector(num_classes=num_classes, num_examples=num_examples, capacity=num_examples)
    collector.add_probabilities(np.arange(num_examples), labels, probabilities)
    names = [f"class {number}" for number in range(num_classes)]
    return evaluate(
        collector, names, SingleProcessCollectives(), with_intervals=False, **options
    ).metrics


def predictions(num_examples, num_classes, *, seed=0, num_draws=None, num_present=None):
    """Returns labels and probabilities; parts of few draws have many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_present or num_classes, num_examples)
    scores = random.normal(size=(num_examples, num_classes))
    scores[np.arange(num_examples), labels] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if num_draws is not None:
        probabilities = random.multinomial(num_draws, probabilities) / num_draws
    return labels, probabilities


def require_decisions_agree(metrics, labels, probabilities):
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics["top1"] == pytest.approx(theirs.accuracy_score(labels, predicted), **AGREE)
        assert metrics["balanced_accuracy"] == pytest.approx(
            theirs.balanced_accuracy_score(labels, predicted), **AGREE
        )
        assert metrics["matthews_correlation"] == pytest.approx(
            theirs.matthews_corrcoef(labels, predicted), **AGREE
        )
        kappa = theirs.cohen_kappa_score(labels, predicted)
        for average in ("macro", "micro", "weighted"):
            expected = theirs.precision_recall_fscore_support(
                labels, predicted, average=average, zero_division=0
            )[:3]
            actual = [metrics["averages"][average][n] for n in ("precision", "recall", "f1")]
            assert actual == pytest.approx(list(expected), **AGREE)
        by_class = theirs.precision_recall_fscore_support(
            labels, predicted, labels=range(probabilities.shape[1]), zero_division=0
        )
    if np.isnan(kappa):
        assert metrics["cohens_kappa"] is None
    else:
        assert metrics["cohens_kappa"] == pytest.approx(kappa, **AGREE)
    for row, *expected, support in zip(metrics["per_class"], *by_class, strict=True):
        actual = [row[name] or 0.0 for name in ("precision", "recall", "f1")]
        assert actual == pytest.approx(expected, **AGREE)
        assert row["support"] == support
    np.testing.assert_array_equal(
        metrics["confusion_matrix"],
        theirs.confusion_matrix(labels, predicted, labels=range(probabilities.shape[1])),
    )


def require_rankings_agree(metrics, labels, probabilities):
    one_hot = np.eye(probabilities.shape[1], dtype=int)[labels]
    for number, row in enumerate(metrics["per_class"]):
        is_positive, scores = one_hot[:, number], probabilities[:, number]
        if not is_positive.any() or is_positive.all():
            assert row["roc_auc"] is None
        else:
            assert row["roc_auc"] == pytest.approx(
                theirs.roc_auc_score(is_positive, scores), **AGREE
            )
        if is_positive.any():
            assert row["average_precision"] == pytest.approx(
                theirs.average_precision_score(is_positive, scores), **AGREE
            )
    flat = one_hot.ravel(), probabilities.ravel()
    assert metrics["roc_auc"]["micro"] == pytest.approx(theirs.roc_auc_score(*flat), **AGREE)
    assert metrics["average_precision"]["micro"] == pytest.approx(
        theirs.average_precision_score(*flat), **AGREE
    )


@settings(max_examples=60, deadline=None)
@given(
    num_examples=st.integers(1, 60),
    num_classes=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    num_draws=st.sampled_from([None, 10, 1]),
    num_missing=st.integers(0, 5),
)
def test_any_predictions_have_the_same_figures(
    num_examples, num_classes, seed, num_draws, num_missing
):
    num_present = max(1, num_classes - num_missing)
    labels, probabilities = predictions(
        num_examples, num_classes, seed=seed, num_draws=num_draws, num_present=num_present
    )
    metrics = ours(labels, probabilities)
    require_decisions_agree(metrics, labels, probabilities)
    require_rankings_agree(metrics, labels, probabilities)


@pytest.mark.parametrize("num_draws", [None, 20])
@pytest.mark.parametrize("num_classes", [3, 10])
def test_areas_over_all_classes_agree(num_classes, num_draws):
    labels, probabilities = predictions(400, num_classes, num_draws=num_draws)
    areas = ours(labels, probabilities)["roc_auc"]
    for name, options in {
        "macro": {"multi_class": "ovr", "average": "macro"},
        "micro": {"multi_class": "ovr", "average": "micro"},
        "one_vs_one": {"multi_class": "ovo", "average": "macro"},
    }.items():
        expected = theirs.roc_auc_score(labels, probabilities, **options)
        assert areas[name] == pytest.approx(expected, **AGREE)


def test_two_classes_have_the_binary_figures():
    labels, probabilities = predictions(300, 2)
    metrics = ours(labels, probabilities)
    expected = theirs.roc_auc_score(labels, probabilities[:, 1])
    assert metrics["per_class"][1]["roc_auc"] == pytest.approx(expected, **AGREE)
    assert metrics["roc_auc"]["macro"] == pytest.approx(expected, **AGREE)
    assert metrics["top5"] is None


@pytest.mark.parametrize("num_classes", [2, 7])
def test_losses_agree(num_classes):
    labels, probabilities = predictions(300, num_classes)
    metrics = ours(labels, probabilities)
    assert metrics["loss"] == pytest.approx(
        theirs.log_loss(labels, probabilities, labels=range(num_classes)), **AGREE
    )
    # Half of the sum over classes, for two of them.
    squares = np.square(probabilities - np.eye(num_classes)[labels]).sum(axis=1).mean()
    assert metrics["brier_score"] == pytest.approx(squares, **AGREE)
    if num_classes == 2:
        binary = theirs.brier_score_loss(labels, probabilities[:, 1])
        assert metrics["brier_score"] == pytest.approx(2 * binary, **AGREE)


def test_a_label_without_any_probability_costs_what_it_does_there():
    labels, probabilities = np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]])
    expected = theirs.log_loss(labels, probabilities, labels=[0, 1])
    assert ours(labels, probabilities)["loss"] == pytest.approx(expected, **AGREE)


def test_top5_agrees():
    labels, probabilities = predictions(300, 8)
    expected = theirs.top_k_accuracy_score(labels, probabilities, k=5, labels=range(8))
    assert ours(labels, probabilities)["top5"] == pytest.approx(expected, **AGREE)


def test_top5_agrees_with_ties_when_the_classes_are_turned_round():
    """Of equally probable classes ours takes the first, as argmax does, theirs the last."""
    random = np.random.default_rng(0)
    scores = random.integers(1, 4, (300, 8)).astype(np.float64)
    labels, probabilities = random.integers(0, 8, 300), scores / scores.sum(axis=1, keepdims=True)
    metrics = ours(labels, probabilities)
    assert (
        metrics["top5"]
        >= metrics["top1"]
        == theirs.accuracy_score(labels, probabilities.argmax(axis=1))
    )
    expected = theirs.top_k_accuracy_score(7 - labels, probabilities[:, ::-1], k=5, labels=range(8))
    assert metrics["top5"] == pytest.approx(expected, **AGREE)


@pytest.mark.parametrize("planted", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_have_no_figures(planted):
    labels, probabilities = predictions(20, 3)
    probabilities[4, labels[4]] = planted
    metrics = ours(labels, probabilities)
    assert metrics["num_not_finite"] == 1
    assert metrics["top1"] is metrics["loss"] is None
    assert "roc_auc" not in metrics
