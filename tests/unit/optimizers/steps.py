"""Takes steps with given gradients, so that NumPy can do the same beside it."""

from __future__ import annotations

import keras
import numpy as np

KERNEL, BIAS = (3, 4), (4,)


def make_variables(seed=0):
    random = np.random.default_rng(seed)
    return [
        keras.Variable(random.normal(size=KERNEL).astype(np.float32), name="kernel"),
        keras.Variable(random.normal(size=BIAS).astype(np.float32), name="bias"),
    ]


def make_gradients(num_steps, seed=1, shapes=(KERNEL, BIAS)):
    random = np.random.default_rng(seed)
    return [
        [random.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(num_steps)
    ]


def take_steps(optimizer, gradients, variables=None):
    """Returns the values of all variables after every step, `[steps][variables]`."""
    variables = variables or make_variables()
    seen = []
    for of_step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in of_step], variables)
        seen.append([variable.numpy().astype(np.float64) for variable in variables])
    return seen


def values(variables):
    return [variable.numpy().astype(np.float64) for variable in variables]


def assert_close(seen, expected, rtol=2e-5, atol=1e-6):
    for of_step, expected_of_step in zip(seen, expected, strict=True):
        for value, wanted in zip(of_step, expected_of_step, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=rtol, atol=atol)
