"""Compares values across ranks before differences can do harm.

A difference raises one readable error, the same on all ranks, instead of causing a deadlock
or silently different models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.errors import HvdImgclsError, RankMismatchError, RootFailedError

_MAX_DIFFERENCES = 10


def require_same(
    collectives: Collectives,
    values: Mapping[str, Any],
    fix: str,
    process_set: ProcessSet = global_process_set,
) -> None:
    """Raises an error on all ranks if a value differs between ranks.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        values: Nested JSON values (objects, lists, strings, numbers, booleans, None).
        fix: What the user should do about a difference, as an imperative.
        process_set: The participating ranks.

    Raises:
        RankMismatchError: With up to 10 differing entries and the values on each rank.
    """
    by_rank = collectives.gather_json(values, process_set)
    differences = find_differences(by_rank, process_set.ranks or range(len(by_rank)))
    if not differences:
        return
    raise RankMismatchError(describe_differences(differences, fix))


def describe_differences(differences: Sequence[str], fix: str) -> str:
    """Returns the message about the result of `find_differences`.

    Args:
        differences: One line per entry; the first 10 are shown.
        fix: What the user should do, as an imperative.
    """
    shown = list(differences[:_MAX_DIFFERENCES])
    more = len(differences) - len(shown)
    lines = [*shown, f"and {more} more"] if more else shown
    return "values differ between ranks:\n  " + "\n  ".join(lines) + f"\n  to fix it: {fix}"


def on_root(collectives: Collectives, action: Callable[[], Any]) -> Any:
    """Runs `action` on the root and returns its result on every rank; errors raise on all ranks.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        action: Called only on the root. Returns a JSON value.

    Raises:
        HvdImgclsError: On the root, if `action` raises it.
        RootFailedError: On the other ranks in that case, with the root's message.
    """
    outcome: dict[str, Any] = {}
    error: HvdImgclsError | None = None
    if collectives.topology.is_root:
        try:
            outcome = {"value": action()}
        except HvdImgclsError as caught:
            error, outcome = caught, {"error": str(caught)}
    outcome = collectives.broadcast_json(outcome)
    if error is not None:
        raise error
    if "error" in outcome:
        raise RootFailedError(f"the root failed: {outcome['error']}")
    return outcome["value"]


def find_differences(by_rank: Sequence[Any], ranks: Sequence[int]) -> list[str]:
    """Returns one line per entry that differs between ranks.

    Args:
        by_rank: One JSON value per rank.
        ranks: The rank numbers.

    >>> find_differences([{"steps": 5, "seed": 1}, {"steps": 5, "seed": 2}], [0, 1])
    ['seed: 1 on rank 0, 2 on rank 1']
    """
    flat = [_flatten(value) for value in by_rank]
    paths = list(dict.fromkeys(path for entries in flat for path in entries))
    return [
        f"{path}: {_describe([entries.get(path, _ABSENT) for entries in flat], ranks)}"
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


def _describe(values: Sequence[Any], ranks: Sequence[int]) -> str:
    """Describes which ranks hold which value, grouped by value."""
    ranks_by_value: dict[str, list[int]] = {}
    for rank, value in zip(ranks, values, strict=True):
        ranks_by_value.setdefault(str(value), []).append(rank)
    return ", ".join(f"{value} on {name_ranks(them)}" for value, them in ranks_by_value.items())


def name_ranks(ranks: Sequence[int]) -> str:
    """Returns "rank 3" or "ranks 0, 2" or, if there are many, "ranks 0, 1, 2 and 61 more"."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) <= 8:
        return "ranks " + ", ".join(map(str, ranks))
    return "ranks " + ", ".join(map(str, ranks[:3])) + f" and {len(ranks) - 3} more"
