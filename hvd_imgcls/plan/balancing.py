"""Divides global batches such that all ranks need the same time. Plain numbers."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.plan.making import Plan

# Equal parts have at least this number of units: examples are moved by about 6 %.
_UNITS_PER_RANK = 16


def allocation_unit(equal_part: int, multiple: int) -> int:
    """Returns the number of examples that are moved together between ranks.

    Larger units mean fewer different batch sizes, each of which is compiled once by augmentation.

    >>> allocation_unit(64, 2), allocation_unit(64, 1), allocation_unit(12, 1)
    (4, 4, 1)

    Args:
        equal_part: Examples of a rank if all have the same number.
        multiple: What every part must be a multiple of; it divides `equal_part`.
    """
    least = equal_part / _UNITS_PER_RANK
    multiples = range(multiple, equal_part + 1, multiple)
    units = [unit for unit in multiples if equal_part % unit == 0 and unit <= max(least, multiple)]
    return units[-1]


def allocation_unit_of(config: RunConfig, plan: Plan) -> int:
    """Returns the number of examples that are moved together in a run.

    Args:
        config: Defines whether examples are mixed in pairs.
        plan: The plan of the run.
    """
    mixes = any(part.name in ("mixup", "cutmix") for part in config.augment)
    multiple = plan.gradient_accumulation_steps * (2 if mixes else 1)
    return allocation_unit(plan.global_batch_size // plan.size, multiple)


def balanced(
    parts: Sequence[int],
    seconds: Sequence[float],
    *,
    unit: int,
    max_ratio: float,
    min_gain: float,
) -> tuple[int, ...]:
    """Returns the parts with which the slowest rank needs the least time.

    A rank's time is taken as proportional to its examples. What does not depend on them makes the
    change too small, and the next one goes on from there.

    >>> balanced([32, 32], [1.0, 2.0], unit=2, max_ratio=2.0, min_gain=0.05)
    (44, 20)

    Args:
        parts: Examples of every rank now, multiples of `unit`.
        seconds: Time that every rank needs for them, above 0.
        unit: Examples that are moved together.
        max_ratio: Maximum of a part, as a multiple of an equal one.
        min_gain: If the slowest rank would not become faster by this fraction, nothing changes.
    """
    num_units = sum(parts) // unit
    most = max(1, math.floor(max_ratio * num_units / len(parts)))
    cost = [second * unit / part for part, second in zip(parts, seconds, strict=True)]
    speed = sum(1 / one for one in cost)
    units = [min(most, max(1, math.floor(num_units / (one * speed)))) for one in cost]
    _add(units, num_units - sum(units), cost, most)
    slowest = max(one * each for one, each in zip(units, cost, strict=True))
    if slowest > (1 - min_gain) * max(seconds):
        return tuple(parts)
    return tuple(one * unit for one in units)


def _add(units: list[int], num: int, cost: list[float], most: int) -> None:
    """Adds units one by one where they cost the least time, or takes away as many, in-place."""
    sign = 1 if num > 0 else -1
    heap = [
        (sign * (one + (sign > 0)) * each, rank)
        for rank, (one, each) in enumerate(zip(units, cost, strict=True))
    ]
    heapq.heapify(heap)
    while num:
        _, rank = heapq.heappop(heap)
        if not 1 <= units[rank] + sign <= most:
            continue
        units[rank] += sign
        num -= sign
        heapq.heappush(heap, (sign * (units[rank] + (sign > 0)) * cost[rank], rank))
