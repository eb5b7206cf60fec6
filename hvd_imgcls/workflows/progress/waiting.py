"""From what every rank has measured to who waited, for what, and for whom.

A reduction of the gradients ends on all ranks at about the same time and begins on each when it
has its gradients. So the last rank to come sees the transfer alone, and what another rank sees
beyond that is its waiting: of every step, the time on this rank less the smallest of all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.distributed import Collectives

Floats = npt.NDArray[np.float64]

MAX_BINS = 1000
"""Steps that are compared one by one. Of longer epochs, sums over neighbours are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """How the ranks spent an epoch, or several.

    Attributes:
        seconds: What it took, by rank, `[size]`.
        data_seconds: Part of it that a rank waited for its next batch, `[size]`.
        rank_seconds: Part of it that a rank waited, with its gradients ready, for gradients of
            ranks that came later, `[size]`. The transfer itself is no waiting. Not in it: the
            waiting in the reductions of synchronised batch normalisation.
    """

    seconds: Floats
    data_seconds: Floats
    rank_seconds: Floats

    @property
    def data_share(self) -> float | None:
        """Share of the ranks' time that they waited for data, 0 .. 1; None of no time."""
        return _share(self.data_seconds.sum(), self.seconds.sum())

    @property
    def rank_share(self) -> float | None:
        """Share of the ranks' time that they waited for one another, 0 .. 1; None of no time."""
        return _share(self.rank_seconds.sum(), self.seconds.sum())

    @property
    def slowest_rank(self) -> int:
        """The rank that waited least for the others: most often it came last."""
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

    One small gathering, whatever the number of steps.

    Args:
        collectives: How the ranks talk.
        seconds: What the epoch took on this rank.
        data_seconds: What of it this rank waited for data.
        reductions: What each reduction of gradients took on this rank, `[reductions]`; as many
            on all ranks.
    """
    own = np.concatenate([[seconds, data_seconds], in_bins(reductions)])
    rows = collectives.allgather(tf.convert_to_tensor(own[np.newaxis]), name="progress.times")
    return times_of(np.asarray(rows))


def times_of(rows: Floats) -> Times:
    """Returns the times of all ranks.

    >>> times_of(np.array([[9.0, 1.0, 0.1, 0.5], [9.0, 0.0, 0.3, 0.1]])).rank_seconds
    array([0.4, 0.2])

    Args:
        rows: Of every rank its seconds, its seconds of waiting for data, and those of its
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
    """Returns sums over neighbours, at most `MAX_BINS` of them; few values as they are."""
    if len(values) <= MAX_BINS:
        return values
    return np.array([part.sum() for part in np.array_split(values, MAX_BINS)])


def _share(part: float, whole: float) -> float | None:
    # Two clocks measured them: rounding must not make more than everything of it.
    return min(1.0, float(part / whole)) if whole > 0 else None
