"""Computes from the measurements of all ranks how long each waited, for data and other ranks.

A reduction of the gradients ends on all ranks at about the same time and starts on each when it
has its gradients. The last rank to arrive thus measures only the transfer; the waiting time of
another rank in a step is its time minus the minimum over all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.distributed import Collectives

Floats = npt.NDArray[np.float64]

MAX_BINS = 1000
"""Maximum number of steps compared individually. For longer epochs, sums of neighbours are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Times of the ranks in one or several epochs.

    Attributes:
        seconds: Total time by rank, `[size]`.
        data_seconds: Time that a rank waited for its next batch, `[size]`.
        rank_seconds: Time that a rank, with its gradients ready, waited for gradients of
            slower ranks, `[size]`. Excludes the transfer itself, and waiting
            in the reductions of synchronised batch normalisation.
    """

    seconds: Floats
    data_seconds: Floats
    rank_seconds: Floats

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.seconds)

    @property
    def data_share(self) -> float | None:
        """Fraction of time that the ranks waited for data, 0 to 1; None for zero time."""
        return _share(self.data_seconds.sum(), self.seconds.sum())

    @property
    def rank_share(self) -> float | None:
        """Fraction of time that the ranks waited for each other, 0 to 1; None for zero time."""
        return _share(self.rank_seconds.sum(), self.seconds.sum())

    @property
    def slowest_rank(self) -> int:
        """The rank that waited least for the others: usually the last to arrive."""
        return int(self.rank_seconds.argmin())

    def __add__(self, other: Times) -> Times:
        return Times(
            seconds=self.seconds + other.seconds,
            data_seconds=self.data_seconds + other.data_seconds,
            rank_seconds=self.rank_seconds + other.rank_seconds,
        )


def gather_times(
    collectives: Collectives, *, seconds: float, data_seconds: float, reductions: Floats
) -> Times:
    """Returns the times of all ranks. Collective: every rank must call this.

    One small allgather, independent of the number of steps.

    Args:
        collectives: Communication between the ranks.
        seconds: Time of the epoch on this rank.
        data_seconds: Time that this rank waited for data.
        reductions: Time of each reduction of gradients on this rank, `[reductions]`; the same
            number on all ranks.
    """
    own = np.concatenate([[seconds, data_seconds], in_bins(reductions)])
    rows = collectives.allgather(tf.convert_to_tensor(own[np.newaxis]), name="progress.times")
    return times_of(np.asarray(rows))


def times_of(rows: Floats) -> Times:
    """Returns the times of all ranks.

    >>> times_of(np.array([[9.0, 1.0, 0.1, 0.5], [9.0, 0.0, 0.3, 0.1]])).rank_seconds
    array([0.4, 0.2])

    Args:
        rows: For every rank its seconds, its seconds of waiting for data, and those of its
            reductions, `[size, 2 + reductions]`.
    """
    seconds, data_seconds, reductions = rows[:, 0], rows[:, 1], rows[:, 2:]
    transfers = reductions.min(axis=0, keepdims=True)
    return Times(
        seconds=seconds,
        data_seconds=data_seconds,
        rank_seconds=(reductions - transfers).sum(axis=1),
    )


def in_bins(values: Floats) -> Floats:
    """Returns sums of neighbours, at most `MAX_BINS` of them; fewer values are unchanged."""
    if len(values) <= MAX_BINS:
        return values
    return np.array([part.sum() for part in np.array_split(values, MAX_BINS)])


def _share(part: float, whole: float) -> float | None:
    # Measured by two clocks: rounding must not give a fraction above 1.
    return min(1.0, float(part / whole)) if whole > 0 else None
