"""Pins ranks that share a host to separate cores.

Threads of two ranks on the same cores delay each other: on two cores, a 5 ms step of two ranks
took 17 ms, and 11 ms with each rank pinned to one core (2026-11-21, docs/benchmarks.md).
TensorFlow also derives the size of its thread pools from the cores it may use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

SWITCH = "HVD_IMGCLS_PIN"
"""Environment variable; 0 disables pinning."""

# Launchers that do not bind ranks to cores, and their variables for the local rank. Open MPI
# binds ranks itself unless given `--bind-to none`; then a rank sees all cores.
_HOROVODRUN = ("HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE")
_OPEN_MPI = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")

_before_pinning: frozenset[int] | None = None


def share_of(cores: Sequence[int], local_rank: int, local_size: int) -> list[int]:
    """Returns the cores of one of several ranks: contiguous, and as evenly divided as possible.

    Every core belongs to one rank. If there are more ranks than cores, all ranks share all cores.

    Args:
        cores: Numbers of the cores that the ranks may use together.
        local_rank: Index of the rank on its host.
        local_size: Number of ranks on the host.

    >>> [share_of(range(8), rank, 3) for rank in range(3)]
    [[0, 1], [2, 3, 4], [5, 6, 7]]
    """
    cores = sorted(cores)
    if local_size > len(cores):
        return cores
    first, last = (len(cores) * place // local_size for place in (local_rank, local_rank + 1))
    return cores[first:last]


def pin_to_share(environment: Mapping[str, str] | None = None) -> None:
    """Pins this process, and the threads it will start, to its share of the host's cores.

    Must be called before threads are started. Does nothing if there is one rank on
    the host, if the launcher has bound the ranks, or with `HVD_IMGCLS_PIN=0`.
    """
    global _before_pinning  # noqa: PLW0603 - affinity is a property of the process
    environment = os.environ if environment is None else environment
    if _before_pinning is not None or environment.get(SWITCH) == "0":
        return
    cores = os.sched_getaffinity(0)
    for rank_variable, size_variable in (_HOROVODRUN, _OPEN_MPI):
        if rank_variable not in environment or size_variable not in environment:
            continue
        if rank_variable == _OPEN_MPI[0] and len(cores) < (os.cpu_count() or 1):
            return
        local_rank, local_size = int(environment[rank_variable]), int(environment[size_variable])
        if 1 < local_size <= len(cores):
            os.sched_setaffinity(0, share_of(sorted(cores), local_rank, local_size))
            _before_pinning = frozenset(cores)
        return


def cores_of_local_ranks() -> frozenset[int]:
    """Returns the cores that the ranks of this host share: those of this process before pinning."""
    return _before_pinning or frozenset(os.sched_getaffinity(0))
