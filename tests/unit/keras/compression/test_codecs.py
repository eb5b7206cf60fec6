"""Values as bfloat16 and as 8-bit integers with a scale."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hvd_imgcls.keras.compression.codecs import BFloat16Codec, Int8Codec

BLOCK = 8
finite = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
values = arrays(np.float32, st.integers(1, 5).map(lambda n: n * BLOCK), elements=finite)


def there_and_back(codec, array):
    content = codec.encode(array)
    assert content.dtype == np.uint8
    assert content.shape == (array.size // codec.block_size, codec.bytes_per_block)
    return codec.decode(content).numpy()


@given(values)
def test_bfloat16_is_that_of_ml_dtypes(array):
    expected = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(there_and_back(BFloat16Codec(), array), expected)


@given(values)
def test_int8_is_off_by_half_a_unit_at_most(array):
    got = there_and_back(Int8Codec(BLOCK), array)
    largest = np.abs(array.reshape(-1, BLOCK)).max(axis=1, keepdims=True)
    error = np.abs(got - array).reshape(-1, BLOCK)
    # A unit below the smallest normal number may be taken for zero.
    assert (error <= largest / 254 * (1 + 1e-5) + 127 * np.finfo(np.float32).tiny).all()
    zeros = (largest == 0)[:, 0]
    assert not got.reshape(-1, BLOCK)[zeros].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", [BFloat16Codec(), Int8Codec(BLOCK)])
def test_what_is_not_finite_remains_so(codec, bad):
    array = np.ones(3 * BLOCK, np.float32)
    array[BLOCK + 3] = bad
    got = there_and_back(codec, array)
    assert not np.isfinite(got[BLOCK + 3])
    assert np.isfinite(got[:BLOCK]).all()
    assert np.isfinite(got[2 * BLOCK :]).all()


def test_int8_takes_values_whose_sum_is_infinite():
    array = np.array([3e38] * BLOCK + [-3e38] * BLOCK, np.float32)
    np.testing.assert_allclose(there_and_back(Int8Codec(BLOCK), array), array, rtol=1e-6)


def test_int8_takes_a_quarter():
    assert Int8Codec(256).bytes_per_block / (4 * 256) < 0.26
