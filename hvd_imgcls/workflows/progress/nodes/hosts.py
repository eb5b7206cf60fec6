"""Which ranks are on which host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a run.

    Attributes:
        name: Its name, different from those of the other hosts.
        ranks: Its ranks. The first samples the host.
    """

    name: str
    ranks: tuple[int, ...]


def group_hosts(names: Sequence[str], local_ranks: Sequence[int]) -> list[Host]:
    """Returns the hosts of a run, ordered by their first rank.

    Hosts with the same name, such as containers, are told apart by repeated local ranks.

    >>> group_hosts(["a", "b", "a", "b"], [0, 0, 1, 1])
    [Host(name='a', ranks=(0, 2)), Host(name='b', ranks=(1, 3))]
    >>> group_hosts(["a", "a", "a"], [0, 1, 0])
    [Host(name='a', ranks=(0, 1)), Host(name='a (2)', ranks=(2,))]

    Args:
        names: Host name of every rank, `[size]`.
        local_ranks: Index of every rank on its host, `[size]`.
    """
    seen: Counter[tuple[str, int]] = Counter()
    groups: dict[tuple[str, int], list[int]] = {}
    for rank, place in enumerate(zip(names, local_ranks, strict=True)):
        groups.setdefault((place[0], seen[place]), []).append(rank)
        seen[place] += 1
    return [
        Host(name if not number else f"{name} ({number + 1})", tuple(ranks))
        for (name, number), ranks in groups.items()
    ]
