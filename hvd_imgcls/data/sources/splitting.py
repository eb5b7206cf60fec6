"""The random split into training and held-out examples, equal on every machine."""

from __future__ import annotations

import numpy as np

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.randomness.generators import generator_of


def num_held_out(class_counts: Numbers, fraction: float) -> Numbers:
    """Returns how many examples of each class are held out, `[classes]`, int64.

    Rounded, but at least one if the class has two, and never all of them.

    Args:
        class_counts: Examples of each class, `[classes]`.
        fraction: Between 0 and 1.
    """
    rounded = np.rint(np.asarray(class_counts) * fraction).astype(np.int64)
    return np.clip(rounded, np.minimum(1, class_counts - 1).clip(0), (class_counts - 1).clip(0))


def choose_held_out(labels: Numbers, fraction: float, seed: int) -> np.ndarray:
    """Chooses the held-out examples of each class.

    The choice for a class depends only on the seed and the examples of that class.

    Args:
        labels: `[examples]`, int64, from 0.
        fraction: Fraction of every class.
        seed: `data.source.split_seed`.

    Returns:
        `[examples]`, bool.
    """
    counts = np.bincount(labels)
    is_held_out = np.zeros(len(labels), dtype=bool)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts))[:-1]
    for label, (of_class, number) in enumerate(
        zip(by_class, num_held_out(counts, fraction), strict=True)
    ):
        is_held_out[generator_of(seed, label).permutation(of_class)[:number]] = True
    return is_held_out


def split_by_fraction(labels: Numbers, fraction: float, seed: int) -> dict[Split, Numbers]:
    """Returns the indices of each split's examples, ascending, `[examples of the split]`.

    Args:
        labels: `[examples]`, int64, from 0.
        fraction: Fraction of every class that is held out.
        seed: `data.source.split_seed`.
    """
    is_held_out = choose_held_out(labels, fraction, seed)
    return {"train": np.flatnonzero(~is_held_out), "held_out": np.flatnonzero(is_held_out)}
