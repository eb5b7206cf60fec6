"""Groups of gradients: all of them once, last first, of about equal size."""

from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.keras.synchronization.grouping import equal_parts

sizes = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)


@given(sizes, st.integers(1, 80))
def test_each_gradient_once_and_last_first(given_sizes, count):
    parts = equal_parts(given_sizes, count)
    assert [index for part in parts for index in part] == list(reversed(range(len(given_sizes))))
    assert 1 <= len(parts) <= count
    assert all(parts)


@given(sizes, st.integers(1, 80))
def test_no_group_is_much_larger_than_an_equal_part(given_sizes, count):
    counted = [max(1, size) for size in given_sizes]
    for part in equal_parts(given_sizes, count):
        assert sum(counted[i] for i in part) <= sum(counted) / count + max(counted)


def test_equal_gradients_are_divided_evenly():
    assert equal_parts([4] * 6, 3) == [[5, 4], [3, 2], [1, 0]]
    assert equal_parts([4] * 6, 1) == [[5, 4, 3, 2, 1, 0]]
    assert equal_parts([0, 0], 2) == [[1], [0]]
