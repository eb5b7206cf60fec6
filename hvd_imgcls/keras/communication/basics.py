"""Rank, size and build information, with Horovod's names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet


def init(comm: Any = None, process_sets: Sequence[ProcessSet] | str | None = None) -> None:
    """Joins the run. Collective: every rank must call this, before anything else.

    Without a launcher the run has one rank, and Horovod is not needed.

    Args:
        comm: Participating ranks, or an mpi4py communicator. All when None.
        process_sets: Subsets of ranks to register, or "dynamic" to add them later.

    Raises:
        SetupError: If several ranks were launched but cannot reach each other.
    """
    distributed.start(process_sets, comm)


def shutdown() -> None:
    """Leaves the run; pending operations of other ranks fail."""
    distributed.stop()


def is_initialized() -> bool:
    """Returns whether `init` was called."""
    return distributed.is_started()


def rank() -> int:
    """Returns the index of this process, `0 .. size() - 1`."""
    return distributed.current().topology.rank


def size() -> int:
    """Returns the number of processes in the run."""
    return distributed.current().topology.size


def local_rank() -> int:
    """Returns the index of this process among those on its host."""
    return distributed.current().topology.local_rank


def local_size() -> int:
    """Returns the number of processes on this host."""
    return distributed.current().topology.local_size


def cross_rank() -> int:
    """Returns the index of this host among the hosts that have this `local_rank`."""
    return distributed.current().topology.cross_rank


def cross_size() -> int:
    """Returns the number of hosts that have this `local_rank`."""
    return distributed.current().topology.cross_size


def is_homogeneous() -> bool:
    """Returns whether all hosts have the same number of ranks. Collective."""
    ranks = distributed.current()
    return len(set(ranks.gather_json(ranks.topology.local_size))) == 1


def _build_query(name: str) -> bool:
    if importlib.util.find_spec("horovod") is None:
        return False
    from hvd_imgcls.distributed.horovod_backend import BUILD_QUERIES

    return bool(BUILD_QUERIES[name]())


def _run_query(name: str) -> bool:
    if distributed.current().topology.size == 1 or importlib.util.find_spec("horovod") is None:
        return False
    from hvd_imgcls.distributed.horovod_backend import RUN_QUERIES

    return bool(RUN_QUERIES[name]())


def mpi_built() -> bool:
    """Returns whether Horovod was built with MPI."""
    return _build_query("mpi_built")


def gloo_built() -> bool:
    """Returns whether Horovod was built with Gloo."""
    return _build_query("gloo_built")


def nccl_built() -> bool:
    """Returns whether Horovod was built with NCCL."""
    return _build_query("nccl_built")


def ddl_built() -> bool:
    """Returns whether Horovod was built with IBM's DDL."""
    return _build_query("ddl_built")


def ccl_built() -> bool:
    """Returns whether Horovod was built with Intel's oneCCL."""
    return _build_query("ccl_built")


def cuda_built() -> bool:
    """Returns whether Horovod was built with CUDA."""
    return _build_query("cuda_built")


def rocm_built() -> bool:
    """Returns whether Horovod was built with ROCm."""
    return _build_query("rocm_built")


def mpi_enabled() -> bool:
    """Returns whether this run communicates through MPI."""
    return _run_query("mpi_enabled")


def gloo_enabled() -> bool:
    """Returns whether this run communicates through Gloo."""
    return _run_query("gloo_enabled")


def mpi_threads_supported() -> bool:
    """Returns whether this run's MPI supports calls from several threads."""
    return _run_query("mpi_threads_supported")


def add_process_set(process_set: ProcessSet | Sequence[int]) -> ProcessSet:
    """Registers a subset of ranks, given as a set or as its global ranks.

    Collective: every rank must call this. Requires `init(process_sets="dynamic")`.
    """
    if not isinstance(process_set, ProcessSet):
        process_set = ProcessSet(process_set)
    distributed.current().add_process_set(process_set)
    return process_set


def remove_process_set(process_set: ProcessSet) -> bool:
    """Removes a subset of ranks. Collective: every rank must call this.

    Returns:
        Whether it was registered.
    """
    return distributed.current().remove_process_set(process_set)


def start_timeline(file_path: str, mark_cycles: bool = False) -> None:
    """Starts recording Horovod's activities as a Chrome trace.

    Args:
        file_path: File that the root writes.
        mark_cycles: Whether to mark the cycles of Horovod's background thread.
    """
    distributed.current().start_timeline(file_path, mark_cycles)


def stop_timeline() -> None:
    """Stops the recording and closes the file."""
    distributed.current().stop_timeline()
