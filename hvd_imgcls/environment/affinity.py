"""Which cores a rank runs on, when several share a host.

Threads of two ranks that wander over the same cores wait for one another: on two cores a
5 ms step of two ranks took 17 ms, and 11 ms with each rank on a core of its own (2026-11-21,
docs/benchmarks.md). TensorFlow also sizes its thread pools by the cores it may run on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

SWITCH = "HVD_IMGCLS_PIN"
"""Environment variable; 0 leaves the cores as they are."""

# Launchers that leave the cores of a rank to us, and what they call its place on the host.
# Open MPI binds by itself unless told `--bind-to none`; then a rank sees all cores.
_HOROVODRUN = ("HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE")
_OPEN_MPI = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")

_before_pinning: frozenset[int] | None = None


def share_of(cores: Sequence[int], local_rank: int, local_size: int) -> list[int]:
    """Returns the cores of one of several ranks: neighbours, as many for each as can be.

    Every core belongs to one rank. With more ranks than cores all ranks share all.

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
    """Keeps this process, and the threads it will start, on its share of the host's cores.

    To be called before threads are started. Does nothing where one rank has the host for
    itself, where the launcher has bound the ranks, or where `HVD_IMGCLS_PIN=0`.
    """
    global _before_pinning  # noqa: PLW0603 - a process has one set of cores
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
    """Returns the cores that the ranks of this host share: this process's, before pinning."""
    return _before_pinning or frozenset(os.sched_getaffinity(0))
