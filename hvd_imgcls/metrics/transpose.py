"""Transposes the ranks' scores: from all classes of some examples to some classes of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.distributed import Collectives

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Of what one rank sends at a time.
_MAX_BYTES = 64 * 2**20


def gather_rows(collectives: Collectives, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the rows of all ranks, by rank. Collective: every rank must call this."""
    gathered = collectives.allgather(tf.convert_to_tensor(rows), name=f"metrics.{name}")
    return np.asarray(gathered)


def classes_over_ranks(collectives: Collectives, scores: Floats) -> Iterator[tuple[int, Floats]]:
    """Yields classes with their scores of all examples, each class on exactly one rank.

    Collective: every rank must exhaust it.

    Args:
        collectives: Communication between the ranks.
        scores: Scores of this rank's examples, `[num_classes, own_examples]`.

    Yields:
        A class and its scores, `[num_examples]`, ordered by rank.
    """
    num_classes, own_examples = scores.shape
    rank, size = collectives.topology.rank, collectives.topology.size
    if size == 1:
        yield from enumerate(scores)
        return
    by_rank = gather_rows(collectives, "examples", np.array([own_examples], np.int64))
    most = int(by_rank.max())
    window = max(size, _MAX_BYTES // (8 * max(1, most)))
    for first in range(0, num_classes, window):
        bounds = _shares(min(window, num_classes - first), size) + first
        sent = np.ascontiguousarray(scores[bounds[0] : bounds[-1]]).reshape(-1)
        splits = np.diff(bounds) * own_examples
        received, _ = collectives.alltoall(
            tf.convert_to_tensor(sent),
            tf.convert_to_tensor(splits, tf.int32),
            name="metrics.classes",
        )
        own_classes = range(bounds[rank], bounds[rank + 1])
        parts = np.split(received.numpy(), np.cumsum(by_rank * len(own_classes))[:-1])
        columns = np.concatenate(
            [part.reshape(len(own_classes), -1) for part in parts if part.size]
            or [np.empty((0, 0))],
            axis=1,
        )
        yield from zip(own_classes, columns, strict=True)


def _shares(count: int, size: int) -> Integers:
    """Returns where the part of every rank begins, and the end, `[size + 1]`."""
    return np.arange(size + 1, dtype=np.int64) * count // size
