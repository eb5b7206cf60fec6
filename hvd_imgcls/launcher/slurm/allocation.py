"""What Slurm says about the allocation in which this process runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hvd_imgcls.errors import ConfigError, SetupError
from hvd_imgcls.launcher.hosts import Host, require_name

_COMMAND_SECONDS = 30
_COUNT = re.compile(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,5})\))?")
_NODE_LIST = re.compile(r"[A-Za-z0-9_.,\[\]-]{1,65536}")
# Numbers of steps from here on are Slurm's own: those of batch scripts and interactive shells.
_FIRST_RESERVED_STEP = 0xFFFFFFF0


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """Nodes of a job, and how many tasks run on each.

    Attributes:
        job_id: Number of the job.
        nodes: The nodes in Slurm's order, with the number of their tasks as slots.
        cpus_per_task: What the user asked for; None for Slurm's default.
        addresses: The address of each node, by its name.
    """

    job_id: str
    nodes: Sequence[Host]
    cpus_per_task: int | None
    addresses: Mapping[str, str]

    @property
    def num_tasks(self) -> int:
        """The number of tasks, of which each is a rank."""
        return sum(node.slots for node in self.nodes)


def read_allocation(environment: Mapping[str, str]) -> Allocation:
    """Returns the allocation of this process.

    Args:
        environment: The variables of a script of `sbatch`, or of a shell of `salloc`.

    Raises:
        ConfigError: If there is no allocation, or it is of a kind that is not supported.
        SetupError: If `scontrol` does not answer.
    """
    job_id = _require_allocation(environment)
    names = node_names(environment)
    counts = tasks_per_node(environment, len(names))
    cpus = environment.get("SLURM_CPUS_PER_TASK")
    return Allocation(
        job_id=job_id,
        nodes=[Host(name, count) for name, count in zip(names, counts, strict=True)],
        cpus_per_task=None if cpus is None else _number(environment, "SLURM_CPUS_PER_TASK"),
        addresses=node_addresses(names),
    )


def _require_allocation(environment: Mapping[str, str]) -> str:
    if "SLURM_JOB_ID" not in environment:
        raise ConfigError(
            "hvd-imgcls launch",
            got="no SLURM_JOB_ID in the environment",
            expected="a job of Slurm",
            fix="submit a script with `sbatch`, or begin with `salloc --ntasks 2`; without Slurm, "
            "start ranks with `horovodrun -np 2 COMMAND`",
        )
    step = environment.get("SLURM_STEP_ID", "")
    if step.isdecimal() and int(step) < _FIRST_RESERVED_STEP:
        raise ConfigError(
            "hvd-imgcls launch",
            got=f"a task of srun (step {step} of job {environment['SLURM_JOB_ID']})",
            expected="the script of the job itself, since it calls srun for the ranks",
            fix="call `hvd-imgcls launch COMMAND` without srun",
        )
    if "SLURM_HET_SIZE" in environment:
        raise ConfigError(
            "SLURM_HET_SIZE",
            got=environment["SLURM_HET_SIZE"],
            expected="a job with one component",
            fix="submit it without `hetjob` and `:`; nodes may have unequal numbers of tasks",
        )
    return str(_number(environment, "SLURM_JOB_ID"))


def tasks_per_node(environment: Mapping[str, str], num_nodes: int) -> list[int]:
    """Returns the number of tasks on each node: one, unless the user asked for a number.

    Args:
        environment: The variables of the job.
        num_nodes: Number of nodes.

    Raises:
        ConfigError: If the variables contradict each other.
    """
    if "SLURM_NTASKS" not in environment and "SLURM_NTASKS_PER_NODE" not in environment:
        return [1] * num_nodes
    counts = parse_counts(environment.get("SLURM_TASKS_PER_NODE", ""))
    total = sum(counts)
    if "SLURM_NTASKS" in environment:
        total = _number(environment, "SLURM_NTASKS")
    if len(counts) != num_nodes or sum(counts) != total:
        raise ConfigError(
            "SLURM_TASKS_PER_NODE",
            got=environment["SLURM_TASKS_PER_NODE"],
            expected=f"{total} tasks on {num_nodes} nodes, as SLURM_NTASKS and SLURM_JOB_NODELIST "
            "say",
            fix="ask for tasks with --ntasks, or --nodes and --ntasks-per-node, and change no "
            "variables of Slurm",
        )
    return counts


def parse_counts(text: str) -> list[int]:
    """Returns the numbers of `SLURM_TASKS_PER_NODE`.

    Raises:
        ConfigError: If it is no such text.

    >>> parse_counts("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part)
        if match is None:
            raise ConfigError(
                "SLURM_TASKS_PER_NODE",
                got=text[:100],
                expected="numbers of tasks as Slurm writes them, such as 2(x3),1",
                fix="run inside of `sbatch` or `salloc`, which set it",
            )
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def node_names(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the nodes of a job, in Slurm's order.

    Raises:
        ConfigError: If `SLURM_JOB_NODELIST` is no list of nodes.
        SetupError: If `scontrol` does not answer.
    """
    text = environment.get("SLURM_JOB_NODELIST", "")
    if not _NODE_LIST.fullmatch(text):
        raise ConfigError(
            "SLURM_JOB_NODELIST",
            got=text[:100],
            expected="nodes as Slurm writes them, such as gpu[01-04]",
            fix="run inside of `sbatch` or `salloc`, which set it",
        )
    names = scontrol("show", "hostnames", text).split()
    return [require_name(name, "SLURM_JOB_NODELIST") for name in names]


def node_addresses(names: Sequence[str]) -> dict[str, str]:
    """Returns the addresses by which Slurm itself reaches nodes; their names if it says none.

    Raises:
        SetupError: If `scontrol` does not answer.
    """
    addresses = {name: name for name in names}
    for line in scontrol("--oneliner", "show", "node", ",".join(names)).splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split())
        if fields.get("NodeName") in addresses and fields.get("NodeAddr"):
            addresses[fields["NodeName"]] = require_name(fields["NodeAddr"], "NodeAddr")
    return addresses


def scontrol(*words: str) -> str:
    """Returns what `scontrol` writes.

    Raises:
        SetupError: If it cannot be run, fails, or does not answer.
    """
    command = ["scontrol", *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unanswered(command, str(error)) from None
    if done.returncode != 0:
        raise _unanswered(command, (done.stderr or done.stdout).strip())
    return done.stdout


def _unanswered(command: Sequence[str], reason: str) -> SetupError:
    return SetupError(
        f"`{' '.join(command)}` failed: {reason}",
        fix="check that Slurm's commands are in PATH here and that its controller answers "
        "(`scontrol ping`)",
    )


def _number(environment: Mapping[str, str], variable: str) -> int:
    value = environment[variable]
    if not (value.isascii() and value.isdecimal() and int(value[:18]) > 0 and len(value) < 18):
        raise ConfigError(
            variable,
            got=value[:100],
            expected="a positive number, as Slurm sets it",
            fix="run inside of `sbatch` or `salloc`, which set it",
        )
    return int(value)
