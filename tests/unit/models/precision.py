"""A dtype policy for the time of a test."""

import contextlib

import keras


@contextlib.contextmanager
def precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
