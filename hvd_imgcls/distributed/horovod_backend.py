"""Collectives over Horovod. The only module that imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf
from horovod.tensorflow import mpi_ops

from hvd_imgcls.distributed.agreement import require_same
from hvd_imgcls.distributed.collectives import Collectives, ReduceOp
from hvd_imgcls.distributed.dtypes import as_carried_bits, as_summable, from_carried_bits
from hvd_imgcls.distributed.forking import let_children_exit
from hvd_imgcls.distributed.naming import unique_name
from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.distributed.xla import require_no_xla
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError, SetupError

BUILD_QUERIES = {
    name: getattr(hvd, name)
    for name in (
        "mpi_built",
        "gloo_built",
        "nccl_built",
        "ddl_built",
        "ccl_built",
        "cuda_built",
        "rocm_built",
    )
}
RUN_QUERIES = {
    name: getattr(hvd, name) for name in ("mpi_enabled", "gloo_enabled", "mpi_threads_supported")
}


class HorovodCollectives(Collectives):
    """Starts Horovod and implements every operation with it.

    Collective: every rank must create one.

    Args:
        process_sets: Subsets of ranks to register at once, or "dynamic" to register
            them later with `add_process_set`.
        comm: Participating ranks, or an mpi4py communicator; None for all ranks.

    Raises:
        SetupError: If Horovod refuses process sets that differ between ranks, after up to 30 s.
    """

    def __init__(
        self, process_sets: Sequence[ProcessSet] | str | None = None, comm: Any = None
    ) -> None:
        dynamic = isinstance(process_sets, str)
        ours = [] if isinstance(process_sets, str) else list(process_sets or ())
        self._native: dict[int, Any] = {0: hvd.global_process_set}
        native = [hvd.ProcessSet(list(process_set.ranks or [])) for process_set in ours]
        try:
            hvd.init(comm, process_sets="dynamic" if dynamic else native)
        except ValueError as error:
            if not native:
                raise
            raise SetupError(
                f"Horovod could not start with {ours}: {error}",
                fix="pass the same process_sets, in the same order, to hvd.init on every rank",
            ) from error
        let_children_exit(mpi_ops._basics.shutdown)
        self.topology = Topology(
            rank=hvd.rank(),
            size=hvd.size(),
            local_rank=hvd.local_rank(),
            local_size=hvd.local_size(),
            cross_rank=hvd.cross_rank(),
            cross_size=hvd.cross_size(),
        )
        self._register(global_process_set, hvd.global_process_set)
        for process_set, native_set in zip(ours, native, strict=True):
            self._register(process_set, native_set)

    def _register(self, process_set: ProcessSet, native: Any) -> None:
        self._native[native.process_set_id] = native
        process_set.register(native.process_set_id, self.topology.rank, self.topology.size)

    def _native_set(self, process_set: ProcessSet) -> Any:
        if process_set.process_set_id not in self._native or not process_set.included():
            raise ConfigError(
                "process_set",
                got=process_set,
                expected=f"a registered process set that contains rank {self.topology.rank}",
                fix="register it on every rank, and call the operation only on its members",
            )
        return self._native[process_set.process_set_id]

    def _keywords(self, name: str, process_set: ProcessSet) -> dict[str, Any]:
        require_no_xla(name)
        # The bare name, without scopes of the surrounding graph: those can differ between
        # ranks if one of them has built another model before, which leads to a deadlock.
        return {
            "name": unique_name(name),
            "ignore_name_scope": True,
            "process_set": self._native_set(process_set),
        }

    @property
    def is_waiting(self) -> bool:
        """Whether an operation of this process, in a graph or not, has not finished."""
        # Of our build, patch 21.
        num_pending: int = mpi_ops._basics.MPI_LIB_CTYPES.horovod_num_pending()
        return num_pending > 0

    def allreduce(
        self,
        tensor: tf.Tensor,
        *,
        op: ReduceOp,
        name: str,
        process_set: ProcessSet = global_process_set,
        prescale_factor: float = 1.0,
        postscale_factor: float = 1.0,
    ) -> tf.Tensor:
        """See `Collectives.allreduce`."""
        tensor = tf.convert_to_tensor(tensor)
        reduced = mpi_ops._allreduce(
            as_summable(tensor),
            op=int(op),
            prescale_factor=prescale_factor,
            postscale_factor=postscale_factor,
            **self._keywords(name, process_set),
        )
        return tf.cast(reduced, tensor.dtype)

    def grouped_allreduce(
        self,
        tensors: Sequence[tf.Tensor],
        *,
        op: ReduceOp,
        name: str,
        process_set: ProcessSet = global_process_set,
        prescale_factor: float = 1.0,
        postscale_factor: float = 1.0,
    ) -> list[tf.Tensor]:
        """See `Collectives.grouped_allreduce`."""
        if not tensors:
            return []
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        reduced = mpi_ops._grouped_allreduce(
            [as_summable(tensor) for tensor in tensors],
            op=int(op),
            prescale_factor=prescale_factor,
            postscale_factor=postscale_factor,
            **self._keywords(name, process_set),
        )
        return [tf.cast(r, t.dtype) for r, t in zip(reduced, tensors, strict=True)]

    def allgather(
        self, tensor: tf.Tensor, *, name: str, process_set: ProcessSet = global_process_set
    ) -> tf.Tensor:
        """See `Collectives.allgather`."""
        tensor = tf.convert_to_tensor(tensor)
        gathered = hvd.allgather(as_carried_bits(tensor), **self._keywords(name, process_set))
        return from_carried_bits(gathered, tensor.dtype)

    def broadcast(
        self,
        tensor: tf.Tensor,
        root_rank: int,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """See `Collectives.broadcast`."""
        tensor = tf.convert_to_tensor(tensor)
        sent = hvd.broadcast(
            as_carried_bits(tensor), root_rank, **self._keywords(name, process_set)
        )
        return from_carried_bits(sent, tensor.dtype)

    def reducescatter(
        self,
        tensor: tf.Tensor,
        *,
        op: ReduceOp,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """See `Collectives.reducescatter`."""
        tensor = tf.convert_to_tensor(tensor)
        scattered = mpi_ops._reducescatter(
            as_summable(tensor), op=int(op), **self._keywords(name, process_set)
        )
        return tf.cast(scattered, tensor.dtype)

    def alltoall(
        self,
        tensor: tf.Tensor,
        splits: tf.Tensor,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Collectives.alltoall`."""
        tensor = tf.convert_to_tensor(tensor)
        received, received_splits = hvd.alltoall(
            as_carried_bits(tensor), splits=splits, **self._keywords(name, process_set)
        )
        return from_carried_bits(received, tensor.dtype), received_splits

    def add_process_set(self, process_set: ProcessSet) -> None:
        """See `Collectives.add_process_set`."""
        require_same(
            self,
            {"ProcessSet(ranks)": list(process_set.ranks or [])},
            fix="add the same process sets in the same order on every rank, members or not",
        )
        existing = [native.ranks for native in self._native.values()]
        process_set.require_new(self.topology.size, existing)
        native = hvd.add_process_set(list(process_set.ranks or []))
        self._register(process_set, native)

    def remove_process_set(self, process_set: ProcessSet) -> bool:
        """See `Collectives.remove_process_set`."""
        native = self._native.pop(process_set.process_set_id or -1, None)
        if native is None:
            return False
        removed = bool(hvd.remove_process_set(native))
        process_set.register(None, self.topology.rank, self.topology.size)
        return removed

    def start_timeline(self, file_path: str, mark_cycles: bool = False) -> None:
        """See `Collectives.start_timeline`."""
        hvd.start_timeline(file_path, mark_cycles)

    def stop_timeline(self) -> None:
        """See `Collectives.stop_timeline`."""
        hvd.stop_timeline()

    def shutdown(self) -> None:
        """See `Collectives.shutdown`."""
        hvd.shutdown()
