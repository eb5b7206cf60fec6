"""Allreduce: all ranks apply the mean, or the sum, of all gradients at every update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.communication import operations
from hvd_imgcls.keras.synchronization.automatic.choice import make_averaging
from hvd_imgcls.keras.synchronization.averaging import Averaging
from hvd_imgcls.keras.synchronization.mode import Formula, SynchronizationMode
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class Allreduce(SynchronizationMode):
    """Sums or averages the gradients."""

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        super().__init__(settings, name)
        self.averaging = make_averaging(settings)

    def build(self, variables: Sequence[Any], slots: Sequence[Any] = ()) -> None:
        """See `SynchronizationMode.build`."""
        self.averaging.build(variables)

    def reduce(
        self, gradients: list[tf.Tensor], variables: list[Any], groups: list[list[int]]
    ) -> list[tf.Tensor]:
        """See `SynchronizationMode.reduce`. Collective: every rank must call this."""
        return self.averaging.reduce(gradients, variables, groups, self.name)

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Returns the concatenated rows of all ranks. Collective: every rank must call this."""
        return operations.allreduce_slices(
            slices, self.settings.op, name, self.settings.process_set
        )

    def bytes_sent(self, updates: int) -> int:
        """See `SynchronizationMode.bytes_sent`."""
        return self.averaging.bytes_sent(updates)

    def chosen(self) -> dict[str, Any]:
        """See `SynchronizationMode.chosen`."""
        return {} if isinstance(self.averaging, Averaging) else self.averaging.chosen()

    def formula(self) -> Formula | None:
        """Returns the sum or the mean over the ranks."""
        if self.settings.op == ReduceOp.SUM:
            return lambda rows: rows.sum(axis=0)
        return lambda rows: rows.mean(axis=0)

    def state(self) -> dict[str, Any]:
        """See `SynchronizationMode.state`."""
        return self.averaging.state()

    def restore(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore`."""
        self.averaging.restore(state)

    def rank_state(self) -> dict[str, Any]:
        """See `SynchronizationMode.rank_state`."""
        return self.averaging.rank_state()

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore_rank_state`."""
        self.averaging.restore_rank_state(state)
