"""Groups of gradients that are sent together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.graph.variables import native_variable

BUCKET_BYTES = 32 * 1024 * 1024
"""Maximum size of groups of dense gradients, unless the user defines groups.

One group for a small model costs one negotiation; several for a large one let the first
be sent while the others are still being computed. The value is between the 25 MiB of
PyTorch's DistributedDataParallel and Horovod's fusion threshold of 128 MiB; it was not
tuned, since all models that fit the available machines fit into one group.
"""


def make_groups(
    groups: int | Sequence[Sequence[Any]] | None,
    gradients: list[tf.Tensor],
    variables: Sequence[Any],
) -> list[list[int]]:
    """Returns the indices of the gradients in each group; a group has a single dtype.

    Args:
        groups: A number of groups of about equal size, lists of variables that are sent together,
            or None for groups of at most `BUCKET_BYTES`. The last gradients come first.
        gradients: Dense gradients.
        variables: Their variables. Variables in no list are sent separately.
    """
    indices = list(range(len(gradients)))
    if not indices:
        return []
    if not groups:
        return by_dtype(buckets(gradients), gradients)
    if isinstance(groups, int):
        sizes = [_num_bytes(gradient) for gradient in gradients]
        return by_dtype(equal_parts(sizes, groups), gradients)
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


def equal_parts(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Returns at most `count` groups of neighbours, last first, of about equal total size.

    No group is larger than an equal part and the largest gradient together.

    Args:
        sizes: Sizes of the gradients in bytes; 0 if unknown.
        count: Number of groups; fewer if single gradients are larger than a part.
    """
    sizes = [max(1, size) for size in sizes]
    total, before = sum(sizes), 0
    parts: list[list[int]] = [[] for _ in range(count)]
    for index in reversed(range(len(sizes))):
        # Where its middle is.
        parts[(2 * before + sizes[index]) * count // (2 * total)].append(index)
        before += sizes[index]
    return [part for part in parts if part]


def buckets(gradients: list[tf.Tensor]) -> list[list[int]]:
    """Returns groups of neighbours of at most `BUCKET_BYTES`, last gradients first.

    Backpropagation computes the gradients of the last layers first.
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
    """Returns the size of a tensor; 0 for a watched tensor whose shape is not static."""
    return (tensor.shape.num_elements() or 0) * tensor.dtype.size


def by_dtype(groups: list[list[int]], gradients: list[tf.Tensor]) -> list[list[int]]:
    """Splits groups so that each has a single dtype, as a grouped operation requires."""
    split: list[list[int]] = []
    for group in groups:
        of_dtype: dict[tf.DType, list[int]] = {}
        for index in group:
            of_dtype.setdefault(gradients[index].dtype, []).append(index)
        split.extend(of_dtype.values())
    return split
