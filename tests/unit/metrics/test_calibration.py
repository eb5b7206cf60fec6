import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.metrics.calibration import calibration


def test_error_is_the_mean_distance_of_accuracy_and_confidence():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    is_correct = np.array([True, True, True, False, True, True])
    result = calibration(confidence, is_correct, num_bins=10)
    assert result["expected_calibration_error"] == pytest.approx(
        (4 * abs(0.75 - 0.95) + 2 * abs(1 - 0.55)) / 6
    )
    assert result["maximum_calibration_error"] == pytest.approx(0.45)
    filled = {row["to"]: (row["count"], row["accuracy"]) for row in result["bins"] if row["count"]}
    assert filled == {0.6: (2, 1.0), 1.0: (4, 0.75)}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_every_example_is_in_the_bin_of_its_confidence(examples):
    confidence = np.array([c for c, _ in examples])
    is_correct = np.array([right for _, right in examples])
    bins = calibration(confidence, is_correct)["bins"]
    assert len(bins) == 15
    assert sum(row["count"] for row in bins) == len(examples)
    for index, row in enumerate(bins):
        inside = (confidence > row["from"]) & (confidence <= row["to"])
        if index == 0:
            inside |= confidence == 0
        assert row["count"] == inside.sum()


@pytest.mark.parametrize("edge", [0.6, 1 / 15, 1.0])
def test_a_confidence_at_an_edge_belongs_to_the_bin_below(edge):
    bins = calibration(np.array([edge]), np.array([True]))["bins"]
    (place,) = [row for row in bins if row["count"]]
    assert place["to"] == edge
