"""What Slurm says about a task that `srun` has started as one of several ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hvd_imgcls.environment.topology import whole_number

NUM_TASKS = "SLURM_STEP_NUM_TASKS"
# With one of these, another launcher has started the rank, perhaps itself started by srun.
_OF_OTHER_LAUNCHERS = ("OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")
# Equal in a rank of `hvd-imgcls launch`.
_OF_LAUNCH = (("HOROVOD_RANK", "SLURM_PROCID"), ("HOROVOD_HOSTNAME", "SLURMD_NODENAME"))


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmTask:
    """A task of `srun`.

    Attributes:
        num_tasks: Number of tasks of the step.
        local_rank: Index of this task on its node.
        local_size: Number of tasks on this node.
        is_bound: Whether Slurm has bound the tasks of this node to different cores.
        has_pmix: Whether MPI can find the other tasks.
    """

    num_tasks: int
    local_rank: int
    local_size: int
    is_bound: bool
    has_pmix: bool


def slurm_task(environment: Mapping[str, str]) -> SlurmTask | None:
    """Returns the task of Slurm that this process is, None if it is none, or the only one.

    Args:
        environment: Variables of the process.

    Raises:
        ConfigError: If Slurm's variables hold no numbers.
    """
    num_tasks = whole_number(environment, NUM_TASKS, "1")
    if num_tasks == 1 or any(name in environment for name in _OF_OTHER_LAUNCHERS):
        return None
    if "HOROVOD_RANK" in environment and any(
        environment.get(ours) != environment.get(slurms) for ours, slurms in _OF_LAUNCH
    ):
        return None  # of horovodrun, called in the task
    # All tasks of the node, by number.
    local_size = environment.get("SLURM_GTIDS", "0").count(",") + 1
    # One mask for each task of the node; empty if none was bound.
    masks = environment.get("SLURM_CPU_BIND_LIST", "").split(",")
    return SlurmTask(
        num_tasks=num_tasks,
        local_rank=min(whole_number(environment, "SLURM_LOCALID", "0"), local_size - 1),
        local_size=local_size,
        is_bound=len(set(masks)) > 1,
        has_pmix="PMIX_RANK" in environment,
    )
