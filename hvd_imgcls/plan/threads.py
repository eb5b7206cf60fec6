"""How many threads a rank may use when it shares its host with other ranks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.environment.affinity import cores_of_local_ranks

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True, slots=True)
class Threads:
    """Thread counts of one rank.

    Every operation may use `intra_op` threads, `inter_op` operations run at the same time,
    and the dataset has `data` threads of its own.

    Attributes:
        num_cores: Cores of this host that its ranks share.
        intra_op: Threads inside one TensorFlow operation.
        inter_op: TensorFlow operations at the same time.
        data: Threads of the dataset.
    """

    num_cores: int
    intra_op: int
    inter_op: int
    data: int


def share_cores(num_cores: int, local_size: int) -> Threads:
    """Divides the cores of a host evenly over its ranks; a rank gets at least one.

    TensorFlow's default, as many threads as the host has cores in every rank, makes the
    ranks of a host take the cores from each other.

    >>> share_cores(16, 4)
    Threads(num_cores=16, intra_op=4, inter_op=2, data=4)
    """
    share = max(1, num_cores // local_size)
    return Threads(num_cores=num_cores, intra_op=share, inter_op=min(2, share), data=share)


def available_cores() -> int:
    """Returns how many cores the ranks of this host share: affinity and container's quota."""
    num_cores = len(cores_of_local_ranks())
    try:
        quota, period = _CGROUP_QUOTA.read_text(encoding="ascii").split()
        if quota != "max":
            num_cores = min(num_cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # No such file outside Linux control groups: no quota.
    return num_cores
