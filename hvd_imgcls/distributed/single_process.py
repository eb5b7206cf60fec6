"""Collectives of a run with one process: same interface, no communication."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from hvd_imgcls.distributed.collectives import Collectives, ReduceOp
from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError


class SingleProcessCollectives(Collectives):
    """Every operation returns what it would return in a run of one rank."""

    def __init__(self) -> None:
        self.topology = Topology.single()
        self._next_process_set_id = 1
        self._timeline_path: Path | None = None
        global_process_set.register(0, rank=0, size=1)

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
        _require_member(process_set)
        factor = prescale_factor * postscale_factor
        tensor = tf.convert_to_tensor(tensor)
        return tf.identity(tensor, name=name) if factor == 1.0 else tensor * factor

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
        return [
            self.allreduce(
                tensor,
                op=op,
                name=name,
                process_set=process_set,
                prescale_factor=prescale_factor,
                postscale_factor=postscale_factor,
            )
            for tensor in tensors
        ]

    def allgather(
        self, tensor: tf.Tensor, *, name: str, process_set: ProcessSet = global_process_set
    ) -> tf.Tensor:
        """See `Collectives.allgather`."""
        _require_member(process_set)
        return tf.identity(tensor, name=name)

    def broadcast(
        self,
        tensor: tf.Tensor,
        root_rank: int,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """See `Collectives.broadcast`."""
        _require_member(process_set)
        if root_rank != 0:
            raise ConfigError(
                "root_rank",
                got=root_rank,
                expected="0, the only rank of this run",
                fix="start more ranks or use root_rank=0",
            )
        return tf.identity(tensor, name=name)

    def reducescatter(
        self,
        tensor: tf.Tensor,
        *,
        op: ReduceOp,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """See `Collectives.reducescatter`."""
        _require_member(process_set)
        return tf.identity(tensor, name=name)

    def alltoall(
        self,
        tensor: tf.Tensor,
        splits: tf.Tensor,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Collectives.alltoall`."""
        _require_member(process_set)
        return tf.identity(tensor, name=name), tf.convert_to_tensor(splits)

    def add_process_set(self, process_set: ProcessSet) -> None:
        """See `Collectives.add_process_set`."""
        if list(process_set.ranks or []) not in ([], [0]):
            raise ConfigError(
                "ProcessSet(ranks)",
                got=list(process_set.ranks or []),
                expected="only rank 0, the only rank of this run",
                fix="start more ranks with horovodrun",
            )
        process_set.register(self._next_process_set_id, rank=0, size=1)
        self._next_process_set_id += 1

    def remove_process_set(self, process_set: ProcessSet) -> bool:
        """See `Collectives.remove_process_set`."""
        if not process_set.process_set_id:
            return False
        process_set.register(None, rank=0, size=1)
        return True

    def start_timeline(self, file_path: str, mark_cycles: bool = False) -> None:
        """Starts an empty trace: one process has no collective activity to record."""
        self._timeline_path = Path(file_path)

    def stop_timeline(self) -> None:
        """Writes the empty trace, a valid Chrome trace file."""
        if self._timeline_path is not None:
            self._timeline_path.write_text(json.dumps([]))
            self._timeline_path = None

    def shutdown(self) -> None:
        """Closes the trace if one is open."""
        self.stop_timeline()


def _require_member(process_set: ProcessSet) -> None:
    if not process_set.included():
        raise ConfigError(
            "process_set",
            got=process_set,
            expected="a registered process set that this rank belongs to",
            fix="pass it to init(process_sets=[...]) and call the operation only on its members",
        )
