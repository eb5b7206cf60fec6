"""Values that functions on ranks return."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from hvd_imgcls.launcher.values import decode, encode

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_come_back(value):
    assert decode(encode(value)) == value


@given(st_np.arrays(st.sampled_from(["f4", "f8", "i8", "u1", "?"]), st_np.array_shapes()))
def test_arrays_come_back_bit_for_bit(array):
    returned = decode(encode({"a": [array]}))["a"][0]
    assert returned.dtype == array.dtype
    assert returned.shape == array.shape
    assert returned.tobytes() == array.tobytes()


def test_tuples_become_lists_and_scalars_numbers():
    assert decode(encode((np.float32(0.5), np.int64(3)))) == [0.5, 3]


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"x", np.array([object()])])
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="expected numbers, text"):
        encode(value)
