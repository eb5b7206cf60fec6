"""Pins ranks that share a host to separate cores, and detects ranks that the launcher has bound.

Threads of two ranks on the same cores delay each other: on two cores, a 5 ms step of two ranks
took 17 ms, and 11 ms with each rank pinned to one core (2026-11-21, docs/benchmarks.md).
TensorFlow also derives the size of its thread pools from the cores it may use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvd_imgcls.environment.slurm_task import slurm_task
from hvd_imgcls.environment.topology import RANK_VARIABLES

SWITCH = "HVD_IMGCLS_PIN"
"""Environment variable; 0 disables pinning."""

# Launchers that may not bind ranks to cores, and their variables for the local rank. Open MPI
# binds ranks itself unless given `--bind-to none`; then a rank sees all cores.
_HOROVODRUN = ("HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE")
_OPEN_MPI = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
_HYDRA = ("MPI_LOCALRANKID", "MPI_LOCALNRANKS")

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
    if is_bound(environment):
        return
    cores = os.sched_getaffinity(0)
    place = _place(environment)
    if place is None:
        return
    if _OPEN_MPI[0] in environment and len(cores) < (os.cpu_count() or 1):
        return
    local_rank, local_size = place
    if 1 < local_size <= len(cores):
        os.sched_setaffinity(0, share_of(sorted(cores), local_rank, local_size))
        _before_pinning = frozenset(cores)


def _place(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Returns index and number of the ranks of this host that share its cores, if known."""
    for rank_variable, size_variable in (_HOROVODRUN, _OPEN_MPI):
        if rank_variable in environment and size_variable in environment:
            return int(environment[rank_variable]), int(environment[size_variable])
    task = slurm_task(environment)
    return None if task is None else (task.local_rank, task.local_size)


def own_cores() -> frozenset[int]:
    """Returns the cores that this process could use before it was pinned."""
    return _before_pinning or frozenset(os.sched_getaffinity(0))


def is_bound(environment: Mapping[str, str] | None = None) -> bool:
    """Returns whether the launcher has bound this rank to some of the cores it may use itself.

    Slurm says what it has bound. Any other launcher is the closest ancestor without the variables
    of a rank in its environment. If that process belongs to another user, it may be allowed more
    cores than the whole job; the answer is then False.
    """
    environment = os.environ if environment is None else environment
    task = slurm_task(environment)
    if task is not None:
        return task.is_bound
    if RANK_VARIABLES.isdisjoint(environment):
        return False
    process = os.getppid()
    try:
        while process > 1 and _is_of_a_rank(process):
            process = _parent_of(process)
        return process > 0 and own_cores() < os.sched_getaffinity(process)
    except OSError:
        return False


def num_cores_of_local_ranks(local_size: int | None = None) -> int:
    """Returns how many cores the ranks of this host share, as far as this rank can see.

    A rank that the launcher has bound sees only its own cores; the others are taken to have as
    many. `shares_of_bound` is exact, once the ranks have joined.

    Args:
        local_size: Number of ranks on the host; by default as announced by the launcher, or 1.
    """
    own = len(own_cores())
    if not is_bound():
        return own
    return min(os.cpu_count() or own, own * (local_size or launched_local_size() or 1))


def launched_local_size(environment: Mapping[str, str] | None = None) -> int | None:
    """Returns the number of ranks on this host that the launcher announces, None without one."""
    environment = os.environ if environment is None else environment
    for _, variable in (_HOROVODRUN, _OPEN_MPI, _HYDRA):
        if variable in environment:
            return int(environment[variable])
    task = slurm_task(environment)
    return None if task is None else task.local_size


def launched_local_rank(environment: Mapping[str, str] | None = None) -> int:
    """Returns the index of this process among those that a launcher has started on this host."""
    place = _place(os.environ if environment is None else environment)
    return 0 if place is None else place[0]


def shares_of_bound(cores_by_rank: Sequence[frozenset[int]]) -> tuple[int, list[int]] | None:
    """Returns the number of cores of a host and of each of its ranks; None if none is bound.

    A core that several ranks may use is divided between them. The cores of a rank are rounded
    down, but at least one.

    Args:
        cores_by_rank: The cores that each rank of the host may use, before pinning.

    >>> shares_of_bound([frozenset({0}), frozenset({1})])
    (2, [1, 1])
    >>> shares_of_bound([frozenset({0, 1}), frozenset({0, 1}), frozenset({2, 3, 4})])
    (5, [1, 1, 3])
    """
    if len(set(cores_by_rank)) == 1:
        return None
    everything = frozenset().union(*cores_by_rank)
    users = {core: sum(core in cores for cores in cores_by_rank) for core in everything}
    # Sums of a few reciprocals: a third three times must be one.
    shares = [int(sum(1 / users[core] for core in cores) + 1e-9) for cores in cores_by_rank]
    return len(everything), [max(1, share) for share in shares]


def _is_of_a_rank(process: int) -> bool:
    """Whether a process has the variables of a rank, such as a shell that a rank is started by.

    Raises:
        OSError: If it belongs to another user.
    """
    content = Path(f"/proc/{process}/environ").read_bytes()
    names = {entry.partition(b"=")[0].decode(errors="replace") for entry in content.split(b"\0")}
    return not names.isdisjoint(RANK_VARIABLES)


def _parent_of(process: int) -> int:
    # After the name in brackets, which may contain anything: the state and the parent.
    fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[1])
