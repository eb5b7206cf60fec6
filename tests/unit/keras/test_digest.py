"""The hash of a variable's bits: any single change is seen, whatever the dtype."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.keras.digest import digest_tensor, digest_variables

DTYPES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]


def digest_of_bytes(content: bytes, dtype: str) -> int:
    tensor = tf.bitcast(tf.constant(np.frombuffer(content, np.uint8)), tf.uint8)
    size = tf.as_dtype(dtype).size
    if size > 1:
        tensor = tf.bitcast(tf.reshape(tensor, [-1, size]), dtype)
    elif dtype != "uint8":
        tensor = tf.bitcast(tensor, dtype)
    return int(digest_tensor(tensor))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), elements=st.integers(1, 40))
def test_one_changed_bit_changes_the_hash(data, dtype, elements):
    length = elements * tf.as_dtype(dtype).size
    content = bytearray(data.draw(st.binary(min_size=length, max_size=length)))
    bit = data.draw(st.integers(0, 8 * length - 1))
    before = digest_of_bytes(bytes(content), dtype)
    content[bit // 8] ^= 1 << bit % 8
    assert digest_of_bytes(bytes(content), dtype) != before


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_one_changed_element_changes_the_hash(old, new, place):
    words = np.arange(4, dtype=np.uint64)
    words[place] = old
    before = digest_of_bytes(words.tobytes(), "int64")
    words[place] = new
    assert (digest_of_bytes(words.tobytes(), "int64") != before) == (old != new)


def test_values_whose_mixture_is_each_others_complement_differ():
    # (w * m) and ~(w * m) collided when the shift drew in the sign.
    inverse = pow(0xBF58476D1CE4E5B9, -1, 2**64)
    mixed = 0x0123456789ABCDEF
    first, second = (np.uint64(x * inverse % 2**64) for x in (mixed, mixed ^ (2**64 - 1)))
    assert digest_of_bytes(first.tobytes(), "int64") != digest_of_bytes(second.tobytes(), "int64")


def test_order_and_sign_of_zero_count_and_equal_bits_agree():
    values = tf.constant([1.0, 2.0, 3.0])
    assert int(digest_tensor(values)) == int(digest_tensor(tf.identity(values)))
    assert int(digest_tensor(values)) != int(digest_tensor(values[::-1]))
    assert int(digest_tensor(tf.constant([0.0]))) != int(digest_tensor(tf.constant([-0.0])))


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_other_dtypes(dtype):
    values = np.array([1, 0, 1]).astype(dtype)
    changed = np.array([1, 1, 1]).astype(dtype)
    assert int(digest_tensor(tf.constant(values))) != int(digest_tensor(tf.constant(changed)))


def test_variables_have_one_hash_each():
    a, b = tf.Variable([1.0]), tf.Variable([[1.0, 2.0]])
    assert digest_variables([a, b]).shape == (2,)
    assert digest_variables([]).shape == (0,)
