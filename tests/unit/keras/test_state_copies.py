"""Copies of variables are in memory that is used again, and never while a copy is in it."""

import keras
import numpy as np

from hvd_imgcls.keras.state.variables import arrays_of


def values_of(variables):
    return arrays_of(variables)["values"]


def test_a_copy_keeps_its_values_as_long_as_any_part_of_it_is_used():
    variable = keras.Variable(np.full((300, 7), 1.0, np.float32))
    first = values_of([variable])
    part = values_of([variable])[0][5:6]
    variable.assign(np.full((300, 7), 2.0))
    for _ in range(3):
        copies = [values_of([variable])[0] for _ in range(3)]
        assert all((copy == 2.0).all() for copy in copies)
    assert (first[0] == 1.0).all()
    assert (part == 1.0).all()


def test_memory_is_used_again():
    variables = [keras.Variable(np.zeros((250, 11), np.float32)), keras.Variable(np.zeros(3))]
    addresses = set()
    for _ in range(4):
        copies = values_of(variables)
        addresses.add(copies[0].__array_interface__["data"][0])
        del copies
    assert len(addresses) == 1
