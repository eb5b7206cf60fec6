"""Comparing values over ranks before they can do harm.

A difference becomes one readable message, the same on all ranks, instead of a wait
without end or a silently different model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.errors import RankMismatchError

_MAX_DIFFERENCES = 10


def require_same(collectives: Collectives, values: Mapping[str, Any], fix: str) -> None:
    """Raises on all ranks alike if a value differs between ranks.

    Collective: every rank must call this.

    Args:
        collectives: How the ranks talk.
        values: Nested JSON values (objects, lists, strings, numbers, booleans, None).
        fix: What the user should do about a difference.

    Raises:
        RankMismatchError: Naming up to 10 differing entries and the ranks' values.
    """
    differences = find_differences(collectives.gather_json(values))
    if not differences:
        return
    shown = differences[:_MAX_DIFFERENCES]
    more = len(differences) - len(shown)
    lines = [*shown, f"and {more} more"] if more else shown
    raise RankMismatchError(
        "the ranks do not agree:\n  " + "\n  ".join(lines) + f"\n  to fix it: {fix}"
    )


def find_differences(by_rank: Sequence[Any]) -> list[str]:
    """Returns one line per entry that is not the same on all ranks.

    Args:
        by_rank: One JSON value per rank.

    >>> find_differences([{"steps": 5, "seed": 1}, {"steps": 5, "seed": 2}])
    ['seed: 1 on rank 0, 2 on rank 1']
    """
    flat = [_flatten(value) for value in by_rank]
    paths = list(dict.fromkeys(path for entries in flat for path in entries))
    return [
        f"{path}: {_describe([entries.get(path, _ABSENT) for entries in flat])}"
        for path in paths
        if any(entries.get(path, _ABSENT) != flat[0].get(path, _ABSENT) for entries in flat)
    ]


_ABSENT = "(absent)"


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Returns the leaves of a JSON value by dotted path."""
    if isinstance(value, Mapping) and value:
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: value}
    leaves: dict[str, Any] = {}
    for item_path, item in items:
        leaves.update(_flatten(item, item_path))
    return leaves


def _describe(values: Sequence[Any]) -> str:
    """Says which ranks hold which value, the ranks of one value together."""
    ranks_by_value: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks_by_value.setdefault(str(value), []).append(rank)
    return ", ".join(f"{value} on {name_ranks(ranks)}" for value, ranks in ranks_by_value.items())


def name_ranks(ranks: Sequence[int]) -> str:
    """Returns "rank 3" or "ranks 0, 2" or, for many, "ranks 0, 1, 2 and 61 more"."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) <= 8:
        return "ranks " + ", ".join(map(str, ranks))
    return "ranks " + ", ".join(map(str, ranks[:3])) + f" and {len(ranks) - 3} more"
