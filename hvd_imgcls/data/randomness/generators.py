"""Random generators of NumPy that depend only on the given numbers."""

from __future__ import annotations

import numpy as np


def generator_of(*numbers: int) -> np.random.Generator:
    """Returns a generator whose stream is a function of some numbers: purpose, seed, epoch, ...

    NumPy guarantees the stream of Philox, but not the algorithms of `permutation` and the like;
    tests compare hashes of their results.

    Args:
        *numbers: Non-negative; their order matters.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(numbers))))
