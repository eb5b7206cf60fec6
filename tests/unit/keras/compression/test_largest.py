"""The positions of the values of largest magnitude."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hvd_imgcls.keras.compression.largest import largest
from hvd_imgcls.keras.compression.power_sgd import orthogonal

floats = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


def coarse(array):
    """Exponents and 8 bits of the mantissas."""
    return np.abs(array).view(np.int32) >> 15


@given(arrays(np.float32, st.integers(1, 60), elements=floats), st.data())
def test_as_sorting_does(array, data):
    count = data.draw(st.integers(1, array.size))
    positions = largest(array, count).numpy()
    assert len(set(positions.tolist())) == count
    expected = np.sort(coarse(array))[::-1][:count]
    np.testing.assert_array_equal(np.sort(coarse(array[positions]))[::-1], expected)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_equal_values_are_taken_by_position(count):
    np.testing.assert_array_equal(largest(np.ones(9, np.float32), count), range(count))


def test_nan_is_largest():
    array = np.array([1, np.inf, np.nan, 5, -np.inf, 7], np.float32)
    assert set(largest(array, 3).numpy().tolist()) == {1, 2, 4}


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_columns_become_orthonormal(columns):
    matrix = np.random.default_rng(columns).normal(size=(50, columns)).astype(np.float32)
    q = orthogonal(matrix).numpy()
    np.testing.assert_allclose(q.T @ q, np.eye(columns), atol=1e-5)
    # The same span: projecting changes nothing.
    np.testing.assert_allclose(q @ (q.T @ matrix), matrix, atol=1e-4)
    assert not orthogonal(np.zeros((5, columns), np.float32)).numpy().any()
