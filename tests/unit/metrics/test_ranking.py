"""Curves and operating points follow from counts at the scores of positive examples."""

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.metrics.ranking import (
    average_precision,
    precision_recall_curve,
    rank,
    roc_auc,
    roc_curve,
)
from hvd_imgcls.metrics.thresholds import threshold_for_precision, threshold_for_recall

# Few values: many ties.
PROBLEMS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40)


def split(problem):
    is_positive = np.array([positive for positive, _ in problem])
    scores = np.array([score for _, score in problem], np.float64) / 6
    return is_positive, scores


def ranking_of(problem):
    is_positive, scores = split(problem)
    return rank(scores[is_positive], np.sort(scores))


@given(PROBLEMS)
def test_area_is_the_part_of_pairs_in_order_and_half_of_the_ties(problem):
    is_positive, scores = split(problem)
    positives, negatives = scores[is_positive], scores[~is_positive]
    won = (positives[:, None] > negatives).sum() + (positives[:, None] == negatives).sum() / 2
    pairs = len(positives) * len(negatives)
    assert roc_auc(ranking_of(problem)) == (won / pairs if pairs else None)


@given(PROBLEMS)
def test_roc_curve_has_the_corners_that_scikit_learn_finds(problem):
    is_positive, scores = split(problem)
    if is_positive.all() or not is_positive.any():
        return
    curve = roc_curve(ranking_of(problem))
    expected = theirs.roc_curve(is_positive, scores, drop_intermediate=False)
    corners = list(zip(curve["false_positive_rate"], curve["true_positive_rate"], strict=True))
    all_points = list(zip(*expected[:2], strict=True))
    assert set(corners) <= set(all_points)
    assert corners[0] == (0, 0)
    assert corners[-1] == (1, 1)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(theirs.roc_auc_score(is_positive, scores), abs=1e-12)
    for threshold, false, true in zip(curve["threshold"], *zip(*corners, strict=True), strict=True):
        if threshold is not None:
            called = scores >= threshold
            assert true == called[is_positive].mean()
            assert false == called[~is_positive].mean()


@given(PROBLEMS)
def test_precision_and_recall_are_those_of_their_threshold(problem):
    is_positive, scores = split(problem)
    curve = precision_recall_curve(ranking_of(problem))
    assert len(curve["threshold"]) == len(np.unique(scores[is_positive]))
    for threshold, precision, recall in zip(
        curve["threshold"], curve["precision"], curve["recall"], strict=True
    ):
        called = scores >= threshold
        assert precision == is_positive[called].mean()
        assert recall == called[is_positive].mean()


def test_long_curves_are_thinned_to_exact_points():
    random = np.random.default_rng(0)
    positives, negatives = random.normal(1, 1, 5000), random.normal(0, 1, 5000)
    ranking = rank(positives, np.sort(np.concatenate([positives, negatives])))
    for curve in (roc_curve, precision_recall_curve):
        whole, thin = curve(ranking), curve(ranking, max_points=100)
        points = list(zip(*whole.values(), strict=True))
        kept = list(zip(*thin.values(), strict=True))
        assert len(kept) == 100
        assert set(kept) <= set(points)
        assert (kept[0], kept[-1]) == (points[0], points[-1])


@given(PROBLEMS, st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]))
def test_threshold_for_a_recall_is_the_highest_that_has_it(problem, recall):
    is_positive, scores = split(problem)
    point = threshold_for_recall(ranking_of(problem), recall)
    if not is_positive.any():
        assert point is None
        return
    recalls = {t: (scores[is_positive] >= t).mean() for t in scores}
    assert point["threshold"] == max(t for t, value in recalls.items() if value >= recall)
    assert point["recall"] == recalls[point["threshold"]]


@given(PROBLEMS, st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]))
def test_threshold_for_a_precision_has_the_highest_recall_of_those_with_it(problem, precision):
    is_positive, scores = split(problem)
    point = threshold_for_precision(ranking_of(problem), precision)
    enough = [t for t in scores[is_positive] if is_positive[scores >= t].mean() >= precision]
    if not enough:
        assert point is None
        return
    assert point["threshold"] == min(enough)
    assert point["precision"] == is_positive[scores >= min(enough)].mean()
    negatives = scores[~is_positive]
    rate = (negatives >= min(enough)).mean() if len(negatives) else None
    assert point["false_positive_rate"] == rate


def test_without_positive_examples_nothing_is_defined():
    ranking = rank(np.empty(0), np.array([0.1, 0.2]))
    assert roc_auc(ranking) is average_precision(ranking) is None
