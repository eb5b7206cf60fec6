"""The rank of this process and the number of ranks, as a plain value.

Everything that divides work takes a `Topology`, so that the arithmetic of 64 ranks can be
tested in one process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from hvd_imgcls.errors import ConfigError

# Environment variables set by launchers, in the order in which they are tried:
# horovodrun with Gloo, Open MPI, MPICH and Intel MPI (Hydra), and last srun, which may itself
# have started another launcher. Every process of a job has SLURM_PROCID, but only those that srun
# has started have the other one.
_RANK_AND_SIZE_VARIABLES = (
    ("HOROVOD_RANK", "HOROVOD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
RANK_VARIABLES = frozenset(rank for rank, _ in _RANK_AND_SIZE_VARIABLES[:-1])
"""Variables of which a rank has at least one, unless srun has started it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """The position of one process in a run. All counts are of processes ("ranks").

    Attributes:
        rank: Index of this process, `0 .. size - 1`.
        size: Number of ranks in the run.
        local_rank: Index of this process among those on its host.
        local_size: Number of ranks on this host.
        cross_rank: Index of this host among the hosts that have this `local_rank`.
        cross_size: Number of such hosts.

    Raises:
        ConfigError: If an index is not below its count.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int

    def __post_init__(self) -> None:
        for index_name, count_name in (
            ("rank", "size"),
            ("local_rank", "local_size"),
            ("cross_rank", "cross_size"),
        ):
            index, count = getattr(self, index_name), getattr(self, count_name)
            if not 0 <= index < count:
                raise ConfigError(
                    f"topology.{index_name}",
                    got=index,
                    expected=f"0 <= {index_name} < {count_name} = {count}",
                    fix="check the environment variables that the launcher sets",
                )

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, the one that writes files and prints."""
        return self.rank == 0

    @classmethod
    def single(cls) -> Topology:
        """Returns the topology of a run of one process."""
        return cls(rank=0, size=1, local_rank=0, local_size=1, cross_rank=0, cross_size=1)

    @classmethod
    def on_hosts(cls, rank: int, size: int, ranks_per_host: int) -> Topology:
        """Returns the topology of `rank` when every host but the last has `ranks_per_host` ranks.

        Ranks are numbered host by host, as by horovodrun.
        """
        host, local_rank = divmod(rank, ranks_per_host)
        num_hosts = -(-size // ranks_per_host)
        on_this_host = min(ranks_per_host, size - host * ranks_per_host)
        last_host_has_it = local_rank < size - (num_hosts - 1) * ranks_per_host
        return cls(
            rank=rank,
            size=size,
            local_rank=local_rank,
            local_size=on_this_host,
            cross_rank=host,
            cross_size=num_hosts if last_host_has_it else num_hosts - 1,
        )


def launched_rank_and_size(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Returns the rank and size set by the launcher, without starting Horovod.

    Used to print a usage error once, and to detect that several ranks were launched although
    Horovod is missing.

    Args:
        environment: Variables to read. Defaults to those of this process.

    Returns:
        `(rank, size)`; `(0, 1)` without a launcher.

    Raises:
        ConfigError: If the variables hold no rank and size.
    """
    environment = os.environ if environment is None else environment
    for rank_variable, size_variable in _RANK_AND_SIZE_VARIABLES:
        if rank_variable in environment and size_variable in environment:
            rank = whole_number(environment, rank_variable)
            size = whole_number(environment, size_variable)
            if not rank < size:
                raise ConfigError(
                    rank_variable,
                    got=rank,
                    expected=f"0 to {size_variable} - 1, which is {size - 1}",
                    fix="start with a launcher such as horovodrun, which sets both, or unset both",
                )
            return rank, size
    return 0, 1


def whole_number(environment: Mapping[str, str], variable: str, default: str = "") -> int:
    """Returns a number that a launcher has set, 0 or more.

    Args:
        environment: The variables.
        variable: The name of one.
        default: Its value if it is not set.

    Raises:
        ConfigError: If it is no such number.
    """
    value = environment.get(variable, default)
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise ConfigError(
        variable,
        got=value[:100],
        expected="a whole number, as launchers set it",
        fix=f"start with a launcher such as horovodrun, or unset {variable}",
    )
