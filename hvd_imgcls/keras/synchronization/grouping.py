"""Which gradients travel together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable

BUCKET_BYTES = 32 * 1024 * 1024
"""Dense gradients travel in groups of at most this size, unless the user groups them.

One group for a small model costs one negotiation; several for a large one let the first
travel while the others are still being computed. The value is between the 25 MiB of
PyTorch's DistributedDataParallel and Horovod's fusion threshold of 128 MiB; it was not
tuned, since every model that fits the machines at hand fits one group.
"""


def make_groups(
    groups: int | Sequence[Sequence[Any]] | None,
    gradients: list[tf.Tensor],
    variables: Sequence[Any],
) -> list[list[int]]:
    """Returns positions of the gradients that travel together, each group of one dtype.

    Args:
        groups: A number of groups, lists of variables that travel together, or None for
            groups of at most `BUCKET_BYTES`.
        gradients: Dense gradients.
        variables: Their variables. One that is in no list travels by itself.
    """
    indices = list(range(len(gradients)))
    if not indices:
        return []
    if not groups:
        return by_dtype(buckets(gradients), gradients)
    if isinstance(groups, int):
        count = min(groups, len(indices))
        return by_dtype([list(part) for part in np.array_split(indices, count)], gradients)
    group_of = {
        id(native_variable(variable)): number
        for number, group in enumerate(groups)
        for variable in group
    }
    named: dict[Any, list[int]] = {}
    for index in indices:
        key = group_of.get(id(native_variable(variables[index])), f"single {index}")
        named.setdefault(key, []).append(index)
    return by_dtype(list(named.values()), gradients)


def buckets(gradients: list[tf.Tensor]) -> list[list[int]]:
    """Returns groups of neighbours of at most `BUCKET_BYTES`, last gradients first.

    Backpropagation makes the gradients of the last layers first.
    """
    buckets: list[list[int]] = [[]]
    filled = 0
    for index in reversed(range(len(gradients))):
        size = _num_bytes(gradients[index])
        if buckets[-1] and filled + size > BUCKET_BYTES:
            buckets.append([])
            filled = 0
        buckets[-1].append(index)
        filled += size
    return buckets


def _num_bytes(tensor: tf.Tensor) -> int:
    """Returns the size of a tensor; 0 for one that a tape watched, if its shape is not static."""
    return (tensor.shape.num_elements() or 0) * tensor.dtype.size


def by_dtype(groups: list[list[int]], gradients: list[tf.Tensor]) -> list[list[int]]:
    """Splits groups so that each holds one dtype, which a grouped operation needs."""
    split: list[list[int]] = []
    for group in groups:
        of_dtype: dict[tf.DType, list[int]] = {}
        for index in group:
            of_dtype.setdefault(gradients[index].dtype, []).append(index)
        split.extend(of_dtype.values())
    return split
