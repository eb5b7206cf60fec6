"""The states of the random generators of layers (dropout, augmentation)."""

from __future__ import annotations

from typing import Any

import numpy as np

NAME_OF_RANDOM_STATE = "seed_generator_state"


def is_random_state(variable: Any) -> bool:
    """Returns whether a variable is the state of a layer's random generator."""
    return variable.name == NAME_OF_RANDOM_STATE and tuple(variable.shape) == (2,)


def moved_apart(state: Any, rank: int) -> Any:
    """Returns the state of a random generator from which a rank draws numbers of its own.

    A state is (seed, counter); the seeds of ranks differ by multiples of a large odd
    constant, so that neighbouring seeds of a user do not collide (2**32 / golden ratio).

    Args:
        state: The root's state, `[2]`, an integer array.
        rank: The rank.
    """
    seed, counter = (int(value) for value in state)
    return np.array([(seed + rank * 0x9E3779B1) % 2**32, counter], state.dtype)
