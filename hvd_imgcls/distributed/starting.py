"""Joins the run: with Horovod if a launcher started several ranks, else as a single process."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.environment import affinity
from hvd_imgcls.environment.slurm_task import slurm_task
from hvd_imgcls.environment.topology import launched_rank_and_size, whole_number
from hvd_imgcls.errors import SetupError
from hvd_imgcls.failures import process_state
from hvd_imgcls.horovod_build.probes.target_facts import horovod_build_record

# Defaults; environment variables take precedence.
_DEFAULT_ENVIRONMENT = {
    # Keeps groups of gradients separate. If they were fused depending on timing, more than two
    # ranks would add in a different order in every run (horovod#2642).
    "HOROVOD_DISABLE_GROUP_FUSION": "1",
    # Seconds after which ranks give up waiting for a rank that has stopped participating.
    # By default, Horovod only warns every minute and keeps waiting.
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "300",
}

_current: Collectives | None = None


def start(process_sets: Sequence[ProcessSet] | str | None = None, comm: Any = None) -> Collectives:
    """Joins the run and returns the object for communication with the other ranks.

    Collective: every rank must call this. A second call returns the same object.

    Args:
        process_sets: Subsets of ranks to register, or "dynamic" to add them later.
        comm: Participating ranks, or an mpi4py communicator; None for all ranks.

    Raises:
        SetupError: If a launcher started several processes but Horovod is missing or
            reports another number of them: every rank would train on its own. Also if the
            process sets differ between ranks.
        ConfigError: If a process set has ranks that the run does not have, or the members of
            another.
    """
    global _current  # noqa: PLW0603 - Horovod is initialised once per process, and so is this
    if _current is not None:
        return _current
    # First, because threads started by Horovod and TensorFlow inherit the affinity.
    affinity.pin_to_share()
    _, announced = launched_rank_and_size()
    if announced == 1 and not _launched_by_something_else(os.environ):
        _current = SingleProcessCollectives()
    else:
        _current = _start_horovod(announced, process_sets, comm)
        process_state.has_joined_ranks = True
        return _current
    for process_set in process_sets or ():
        if isinstance(process_set, ProcessSet):
            _current.add_process_set(process_set)
    return _current


def _launched_by_something_else(environment: Mapping[str, str]) -> bool:
    """Whether a launcher that does not announce its size may have started several processes."""
    return "PMIX_RANK" in environment or _num_tasks(environment) > 1


def _num_tasks(environment: Mapping[str, str]) -> int:
    """Returns the number of tasks of a Slurm step, 1 without one."""
    return whole_number(environment, "SLURM_STEP_NUM_TASKS", "1")


def _require_rendezvous(environment: Mapping[str, str]) -> None:
    """Raises an error if ranks could not find each other: Horovod would abort after 40 s.

    Raises:
        SetupError: With the missing variables.
    """
    if "HOROVOD_RANK" not in environment or "HOROVOD_SIZE" not in environment:
        return  # MPI knows where the ranks are.
    names = ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise SetupError(
            f"HOROVOD_RANK and HOROVOD_SIZE are set, but not {' and '.join(missing)}, without "
            "which the ranks do not find each other",
            fix="start with `horovodrun -np N hvd-imgcls ...`, which sets all of them, or unset "
            "HOROVOD_RANK and HOROVOD_SIZE to run a single rank",
        )


def _require_mpi_of_slurm(environment: Mapping[str, str]) -> None:
    """Raises an error if tasks of `srun` could not find each other.

    MPI would end with `MPI_Init failed`, and Horovod without MPI would see one rank in every task.

    Raises:
        SetupError: With what to start instead.
    """
    task = slurm_task(environment)
    record = horovod_build_record()
    if task is None or record is None or "HOROVOD_RANK" in environment:
        return
    launch = "start with `hvd-imgcls launch COMMAND` in the job, without srun and MPI"
    if not record["with_mpi"]:
        raise SetupError(
            f"srun has started {task.num_tasks} tasks, but Horovod is built without MPI, so that "
            "they would train separately",
            fix=f"{launch}, or rebuild with `hvd-imgcls install-horovod --mpi` for "
            "`srun --mpi=pmix`",
        )
    if not task.has_pmix:
        raise SetupError(
            f"srun has started {task.num_tasks} tasks without PMIx (--mpi=none or pmi2), so that "
            "MPI does not find the others",
            fix=f"start with `srun --mpi=pmix COMMAND`, or {launch}",
        )


def _require_new(process_sets: Sequence[ProcessSet], size: int) -> None:
    """Refuses process sets that Horovod cannot register, before it starts.

    Raises:
        ConfigError: As `ProcessSet.require_new`.
    """
    existing: list[Sequence[int]] = [range(size)]
    for process_set in process_sets:
        process_set.require_new(size, existing)
        existing.append(process_set.ranks or ())


def _start_horovod(
    announced: int, process_sets: Sequence[ProcessSet] | str | None, comm: Any
) -> Collectives:
    if importlib.util.find_spec("horovod") is None:
        raise SetupError(
            f"{announced} ranks were started, but Horovod is not installed, so each rank would "
            "train separately",
            fix="run `hvd-imgcls install-horovod` in this environment",
        )
    if comm is None:
        _require_rendezvous(os.environ)
        _require_mpi_of_slurm(os.environ)
        if process_sets is not None and not isinstance(process_sets, str):
            _require_new(process_sets, max(announced, _num_tasks(os.environ)))
    for variable, value in _DEFAULT_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from hvd_imgcls.distributed.horovod_backend import HorovodCollectives

    collectives = HorovodCollectives(process_sets, comm)
    expected = max(announced, _num_tasks(os.environ))
    if comm is None and collectives.topology.size < expected:
        raise SetupError(
            f"the launcher started {expected} processes, but Horovod sees "
            f"{collectives.topology.size}: it was built without support for this launcher",
            fix="start with `horovodrun --gloo`, or rebuild with `hvd-imgcls install-horovod "
            "--mpi` for mpirun and srun",
        )
    return collectives


def current() -> Collectives:
    """Returns the object for communication with the other ranks.

    Raises:
        SetupError: If `start` (for users of the Keras module: `hvd.init()`) was not called.
    """
    if _current is None:
        raise SetupError("Horovod has not been initialised", fix="call hvd.init() first")
    return _current


def is_started() -> bool:
    """Returns whether this process has joined a run."""
    return _current is not None


def is_waiting() -> bool:
    """Returns whether this process waits for other ranks now, in a graph or not."""
    return _current is not None and _current.is_waiting


def stop() -> None:
    """Leaves the run. A later `start` joins again."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.shutdown()
    _current = None
    global_process_set.withdraw()
