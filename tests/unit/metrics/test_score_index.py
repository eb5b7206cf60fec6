"""A table instead of a search, and the same places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.metrics.score_index import ScoreIndex

FEW = st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 0.1, 0.3, np.nextafter(0.3, 1), 1.0, 7.0, -2.0])
ANY = st.floats(allow_nan=False, allow_infinity=False)


def check(distinct, scores):
    distinct = np.unique(np.array(distinct, np.float64))
    scores = np.array(scores, np.float64)
    places, equal = ScoreIndex(distinct).find(scores)
    np.testing.assert_array_equal(places, np.searchsorted(distinct, scores, "left"))
    np.testing.assert_array_equal(np.sort(equal), np.flatnonzero(np.isin(scores, distinct)))


@given(st.lists(st.one_of(FEW, ANY), max_size=30), st.lists(st.one_of(FEW, ANY), max_size=30))
def test_places_are_those_of_a_search(distinct, scores):
    check(distinct, [*scores, *distinct])


@pytest.mark.parametrize("spread", [1e-15, 1e-6, 0.1, 20.0])
def test_places_among_many_scores_close_together_or_far_apart(spread):
    random = np.random.default_rng(0)
    distinct = 0.5 * np.exp(-spread * np.abs(random.normal(size=3000)))
    others = 0.5 * np.exp(-spread * np.abs(random.normal(size=5000)))
    check(distinct, np.concatenate([others, distinct[:1000], [0.0, 1.0]]))
