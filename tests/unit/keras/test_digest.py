"""The hash of a variable's bits: any single change is seen, whatever the dtype."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.keras.checks.digest import digest_all, digest_array

DTYPES = ["bool", "bfloat16", "float16", "float32", "float64", "int8", "uint32", "complex64"]


@given(content=st.binary(min_size=1, max_size=400), data=st.data())
def test_one_changed_bit_changes_the_hash(content, data):
    changed = bytearray(content)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    before, after = (digest_array(np.frombuffer(b, np.uint8)) for b in (content, bytes(changed)))
    assert before != after


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    values = tf.cast(tf.constant([[1, 0], [1, 1]]), dtype)
    changed = tf.cast(tf.constant([[1, 0], [0, 1]]), dtype)
    digests = digest_all(values, values, changed)
    assert digests[0] == digests[1] != digests[2]


def test_order_and_sign_of_zero_count():
    values = np.array([1.0, 2.0, 3.0])
    assert digest_array(values) == digest_array(values.copy())
    assert digest_array(values) != digest_array(values[::-1])
    assert digest_array(np.float32(0.0)) != digest_array(np.float32(-0.0))


def test_the_hash_does_not_depend_on_how_the_array_lies_in_memory():
    values = np.arange(12).reshape(3, 4)
    assert digest_array(values) == digest_array(np.asfortranarray(values))


def test_values_have_one_hash_each():
    digests = digest_all(tf.constant([1.0]), np.float32(2.0))
    assert (digests.shape, digests.dtype) == ((2,), np.int64)
    assert digest_all().shape == (0,)
