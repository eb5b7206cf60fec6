"""Objects come back as they were, without pickle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.keras.communication.objects import _decode, _encode

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_plain_objects_come_back(value):
    payload, problem = _encode(value, allow_pickle=False)
    assert problem is None
    back = _decode(payload, allow_pickle=False)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_come_back(dtype, shape):
    value = np.ones(shape, dtype)
    back = _decode(_encode({"x": value}, False)[0], False)["x"]
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, np.array([object()])])
def test_what_needs_pickle_is_refused_by_its_type(value):
    payload, problem = _encode(value, allow_pickle=False)
    assert payload == b""
    assert problem


def test_what_cannot_be_pickled_is_an_answer_too():
    payload, problem = _encode(lambda: None, allow_pickle=True)
    assert payload == b""
    assert "pickle" in problem
