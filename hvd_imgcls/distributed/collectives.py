"""The interface of collective operations, independent of the backend.

Two implementations: `HorovodCollectives` and, for a run of one process,
`SingleProcessCollectives`. Code above this package does not depend on which one it has.
"""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.environment.topology import Topology


class ReduceOp(enum.IntEnum):
    """How an allreduce or reducescatter combines the ranks' tensors.

    The numbers are Horovod's, so its own constants can be passed as well.
    """

    AVERAGE = 0
    SUM = 1
    ADASUM = 2
    MIN = 3
    MAX = 4
    PRODUCT = 5


class Collectives(ABC):
    """Operations that all ranks (or all members of a process set) call together.

    Every method that takes a `name` is collective: every rank of the process set must
    call it, with the same name, dtype and operation; otherwise all of them block. Tensor
    methods work eagerly and inside `tf.function`, and are differentiable where
    Horovod's are (allreduce, allgather, broadcast, alltoall, reducescatter).

    Attributes:
        topology: The position of this process among all ranks.
    """

    topology: Topology

    @property
    def is_waiting(self) -> bool:
        """Whether an operation of this process, in a graph or not, has not finished."""
        return False

    @abstractmethod
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
        """Returns `tensor` reduced over the ranks, with the same shape and dtype on all of them."""

    @abstractmethod
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
        """Returns the tensors reduced over the ranks in one negotiation, all or none."""

    @abstractmethod
    def allgather(
        self, tensor: tf.Tensor, *, name: str, process_set: ProcessSet = global_process_set
    ) -> tf.Tensor:
        """Returns the ranks' tensors concatenated along axis 0, whose length may differ."""

    @abstractmethod
    def broadcast(
        self,
        tensor: tf.Tensor,
        root_rank: int,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """Returns the tensor of the global rank `root_rank`."""

    @abstractmethod
    def reducescatter(
        self,
        tensor: tf.Tensor,
        *,
        op: ReduceOp,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tf.Tensor:
        """Returns this rank's part, along axis 0, of the reduced tensor."""

    @abstractmethod
    def alltoall(
        self,
        tensor: tf.Tensor,
        splits: tf.Tensor,
        *,
        name: str,
        process_set: ProcessSet = global_process_set,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sends `splits[r]` rows of axis 0 to rank r; rows beyond their sum are not sent.

        Returns:
            The rows received, ordered by rank, and the number of rows from each rank.
        """

    @abstractmethod
    def add_process_set(self, process_set: ProcessSet) -> None:
        """Registers a process set. Every rank of the run must call it.

        Raises:
            RankMismatchError: On all ranks, if they register different sets.
            ConfigError: On all ranks, if a member is not a rank of the run, or if a set with these
                members is registered.
        """

    @abstractmethod
    def remove_process_set(self, process_set: ProcessSet) -> bool:
        """Removes a process set. Every rank of the run must call it."""

    @abstractmethod
    def start_timeline(self, file_path: str, mark_cycles: bool = False) -> None:
        """Starts recording Horovod's activities as a Chrome trace."""

    @abstractmethod
    def stop_timeline(self) -> None:
        """Stops the recording."""

    @abstractmethod
    def shutdown(self) -> None:
        """Leaves the run. Pending operations of other ranks fail."""

    def barrier(self, process_set: ProcessSet = global_process_set) -> None:
        """Waits for all ranks. Collective: every rank must call this."""
        # Not a constant input, which would be folded inside a graph.
        here = tf.convert_to_tensor(np.zeros(1, np.int32))
        self.allreduce(here, op=ReduceOp.SUM, name="barrier", process_set=process_set)

    def sum_arrays(self, name: str, array: np.ndarray) -> np.ndarray:
        """Returns the element-wise sum over ranks. Collective: every rank must call this.

        Args:
            name: Name of the operation, the same on all ranks.
            array: Same shape on all ranks; float64 or int64, which are reduced losslessly.
        """
        total = self.allreduce(tf.convert_to_tensor(array), op=ReduceOp.SUM, name=name)
        return np.asarray(total).reshape(array.shape)

    def gather_bytes(
        self, payload: bytes, process_set: ProcessSet = global_process_set
    ) -> list[bytes]:
        """Returns every member's bytes, by rank. Collective: every rank must call this."""
        lengths = self.allgather(
            tf.constant([len(payload)], tf.int64),
            name="gather_bytes.lengths",
            process_set=process_set,
        ).numpy()
        joined = self.allgather(
            tf.convert_to_tensor(np.frombuffer(payload, np.uint8)),
            name="gather_bytes.payload",
            process_set=process_set,
        ).numpy()
        ends = np.cumsum(lengths)
        return [
            joined[end - length : end].tobytes() for length, end in zip(lengths, ends, strict=True)
        ]

    def broadcast_bytes(
        self, payload: bytes, root_rank: int = 0, process_set: ProcessSet = global_process_set
    ) -> bytes:
        """Returns the bytes of `root_rank`. Collective: every rank must call this."""
        length = self.broadcast(
            tf.constant([len(payload)], tf.int64),
            root_rank,
            name="broadcast_bytes.length",
            process_set=process_set,
        )
        if self.topology.rank == root_rank:
            buffer = np.frombuffer(payload, np.uint8)
        else:
            buffer = np.zeros(int(length[0]), np.uint8)
        sent = self.broadcast(
            tf.convert_to_tensor(buffer),
            root_rank,
            name="broadcast_bytes.payload",
            process_set=process_set,
        )
        return bytes(sent.numpy().tobytes())

    def gather_json(self, value: Any, process_set: ProcessSet = global_process_set) -> list[Any]:
        """Returns every member's JSON value, by rank. Collective: every rank must call this.

        JSON and not pickle: what comes off the network is data, never code.
        """
        parts = self.gather_bytes(json.dumps(value).encode(), process_set)
        return [json.loads(text) for text in parts]

    def broadcast_json(
        self, value: Any, root_rank: int = 0, process_set: ProcessSet = global_process_set
    ) -> Any:
        """Returns the JSON value of `root_rank`. Collective: every rank must call this."""
        return json.loads(self.broadcast_bytes(json.dumps(value).encode(), root_rank, process_set))
