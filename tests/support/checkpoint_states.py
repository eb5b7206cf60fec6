"""States of checkpoints in tests, and their comparison bit for bit."""

import struct

import ml_dtypes
import numpy as np


def states(number):
    """Returns the states of the root and of rank 1, which differ for every number."""
    generator = np.random.default_rng(number)
    model = {
        "kernel": generator.standard_normal((5, 4)).astype(np.float32).T,
        "bias": generator.standard_normal(3).astype(ml_dtypes.bfloat16),
        "empty": np.zeros((0, 2)),
    }
    root = {"model": model, "position": {"step": number, "loss": float("nan"), "$name": "é"}}
    return root, [{"position": {"step": number, "seen": generator.integers(0, 9, 5)}}]


def is_same(first, second):
    """Returns whether two values have the same types and the same bits."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(is_same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, np.ndarray):
        kinds = (first.dtype, first.shape), (second.dtype, second.shape)
        return kinds[0] == kinds[1] and first.tobytes() == second.tobytes()
    if isinstance(first, float):
        return struct.pack("d", first) == struct.pack("d", second)
    return first == second


def number_of(checkpoint):
    """Returns the number whose states a checkpoint contains; None for no checkpoint."""
    if checkpoint is None:
        return None
    number = checkpoint.facts["number"]
    root, by_rank = states(number)
    assert is_same(checkpoint.states, root)
    assert is_same(checkpoint.states_by_rank, by_rank)
    return number


def write(store, step, number=None):
    """Writes the states with a number, which is the step if there is none."""
    number = step if number is None else number
    return store.write(step, *states(number), {"number": number, "loss": float("inf")})
