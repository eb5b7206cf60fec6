"""How many threads each rank uses when ranks share a host."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls.environment.affinity import num_cores_of_local_ranks
from hvd_imgcls.environment.processor import cpu_quota


@dataclass(frozen=True, kw_only=True, slots=True)
class Threads:
    """Thread counts of one rank.

    Attributes:
        num_cores: Cores shared by the ranks of this host.
        intra_op: Threads within one TensorFlow operation.
        inter_op: TensorFlow operations that run in parallel.
        data: Threads of the `tf.data` pipeline.
    """

    num_cores: int
    intra_op: int
    inter_op: int
    data: int


def share_cores(num_cores: int, local_size: int, own: int | None = None) -> Threads:
    """Divides the cores of a host evenly among its ranks; a rank gets at least one.

    By default, TensorFlow starts one thread per core of the host in every rank, so that the
    ranks of a host compete for the cores.

    Args:
        num_cores: Cores of all ranks of the host.
        local_size: Number of ranks on the host.
        own: Cores of this rank, if the launcher has bound the ranks.

    >>> share_cores(16, 4)
    Threads(num_cores=16, intra_op=4, inter_op=2, data=4)
    """
    share = own or max(1, num_cores // local_size)
    return Threads(num_cores=num_cores, intra_op=share, inter_op=min(2, share), data=share)


def available_cores(local_size: int | None = None) -> int:
    """Returns the cores that the ranks of this host share, from CPU affinity and cgroup quota.

    Args:
        local_size: Number of ranks on the host; by default as announced by the launcher, or 1.
            Matters only if the launcher has bound the ranks.
    """
    return within_quota(num_cores_of_local_ranks(local_size))


def within_quota(num_cores: int) -> int:
    """Returns a number of cores, but at most as many as the control group may use."""
    quota = cpu_quota()
    return num_cores if quota is None else min(num_cores, max(1, int(quota)))
