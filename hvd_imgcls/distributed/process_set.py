"""Process sets: subsets of the ranks that communicate among themselves."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from hvd_imgcls.errors import ConfigError


class ProcessSet:
    """A subset of the ranks of a run, given by their global ranks.

    Pass it to `init(process_sets=[...])`, or to `add_process_set` when Horovod was
    started with `process_sets="dynamic"`, and then to any collective operation.

    Args:
        ranks: The global ranks of the members, in any order, without duplicates: Python's or
            NumPy's integers.

    Attributes:
        process_set_id: Number assigned by Horovod; None until the set is registered.

    Raises:
        ConfigError: If a rank is repeated or is not an integer.
    """

    def __init__(self, ranks: Iterable[SupportsIndex]) -> None:
        given: Any = ranks
        members: list[int] | None = None
        with contextlib.suppress(TypeError):  # communicators of MPI are no lists
            given = list(ranks)
            members = sorted(operator.index(rank) for rank in given)
        if members is None or len(set(members)) != len(given):
            raise ConfigError(
                "ProcessSet(ranks)",
                got=given,
                expected="distinct integers",
                fix="list each global rank once",
            )
        self._members: Sequence[int] | None = members
        self.process_set_id: int | None = None
        self._rank_and_size: tuple[int, int] | None = None

    @property
    def ranks(self) -> Sequence[int] | None:
        """The members, ascending; None for the set of all ranks before `init`."""
        if self._members is None and self._rank_and_size is not None:
            return range(self._rank_and_size[1])
        return self._members

    @property
    def is_of_all_ranks(self) -> bool:
        """Whether this is the set of all ranks, by definition."""
        return self._members is None

    def require_new(self, size: int, existing: Iterable[Sequence[int]]) -> None:
        """Refuses what Horovod cannot register: ranks outside of the run would end the process.

        Args:
            size: Number of ranks in the run.
            existing: The members, ascending, of the sets that are registered.

        Raises:
            ConfigError: If there is no member or one that is not in 0 .. size - 1, or if a set
                with the same members exists.
        """
        members = list(self.ranks or ())
        if not members or members[0] < 0 or members[-1] >= size:
            raise ConfigError(
                "ProcessSet(ranks)",
                got=members,
                expected=f"some of the ranks 0 to {size - 1} of this run",
                fix="list global ranks, or start more ranks",
            )
        if members in map(list, existing):
            raise ConfigError(
                "ProcessSet(ranks)",
                got=members,
                expected="other members than those of each registered set",
                fix="use the registered set; that of all ranks is hvd.global_process_set",
            )

    def register(self, process_set_id: int | None, rank: int, size: int) -> None:
        """Stores the number assigned by Horovod and the topology of the set.

        Args:
            process_set_id: The number; None removes the set.
            rank: Global rank of this process.
            size: Number of ranks in the run.
        """
        self.process_set_id = process_set_id
        self._rank_and_size = None if process_set_id is None else (rank, size)

    def withdraw(self) -> None:
        """Clears the topology, when the run it was registered in has ended."""
        self._rank_and_size = None

    def size(self) -> int | None:
        """Returns the number of members; None if the set is not registered."""
        if self._rank_and_size is None:
            return None
        return self._rank_and_size[1] if self._members is None else len(self._members)

    def rank(self) -> int | None:
        """Returns this process's rank in the set; None if it is not a member."""
        if self._rank_and_size is None:
            return None
        rank = self._rank_and_size[0]
        if self._members is None:
            return rank
        return self._members.index(rank) if rank in self._members else None

    def included(self) -> bool | None:
        """Returns whether this process is a member; None if the set is not registered."""
        if self._rank_and_size is None:
            return None
        return self._members is None or self._rank_and_size[0] in self._members

    def __repr__(self) -> str:
        members = "all ranks" if self._members is None else list(self._members)
        return f"ProcessSet({members}, process_set_id={self.process_set_id})"


def _all_ranks() -> ProcessSet:
    process_set = ProcessSet(())
    process_set._members = None
    process_set.process_set_id = 0
    return process_set


global_process_set = _all_ranks()
"""The set of all ranks; the default of every operation."""
