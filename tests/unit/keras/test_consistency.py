"""What the checks of a run conclude from gathered values."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_imgcls.keras.checks.consistency import describe_difference, find_wrong_reduction


def mean(rows):
    return rows.mean(axis=0)


@pytest.mark.parametrize(
    ("table", "members", "expected"),
    [
        ([[1, 2], [1, 2]], [0, 1], None),
        ([[1, 2], [1, 3]], [0, 1], "variable b (1 of 2 differ): rank 1 differs from rank 0"),
        ([[1, 2], [9, 3]], [2, 5], "variable a (2 of 2 differ): rank 5 differs from rank 2"),
        (
            [[1, 2], [1, 3], [1, 2], [1, 4]],
            [0, 1, 2, 3],
            "variable b (1 of 2 differ): ranks 1, 3 differ from rank 0",
        ),
    ],
)
def test_first_differing_variable_and_its_ranks_are_named(table, members, expected):
    assert describe_difference(np.array(table), ["a", "b"], members) == expected


@pytest.mark.parametrize(
    ("reduced", "expected"),
    [
        ([[2.0, 4.0], [2.0, 4.0]], None),
        ([[2.0, 4.0], [2.0, 5.0]], (1, 1)),  # not the same on all ranks
        ([[2.0, 3.0], [2.0, 3.0]], (1, 0)),  # the same, and wrong: nothing was averaged
        ([[2.0, 4.0 + 1e-7], [2.0, 4.0 + 1e-7]], None),  # rounding
    ],
)
def test_wrong_reduction_is_found(reduced, expected):
    local = np.array([[1.0, 3.0], [3.0, 5.0]])
    found = find_wrong_reduction(local, np.array(reduced), mean, (1e-5, 1e-30))
    assert (found and found[:2]) == expected


def test_cancelling_values_are_judged_by_their_size_and_not_by_their_sum():
    local = np.array([[1e4], [-1e4]])
    reduced = np.array([[1e-3], [1e-3]])
    assert find_wrong_reduction(local, reduced, mean, (1e-5, 1e-30)) is None


def test_without_a_formula_only_equality_is_asked_for():
    local, reduced = np.ones((2, 1)), np.full((2, 1), 7.0)
    assert find_wrong_reduction(local, reduced, None, (0.0, 0.0)) is None
