"""Allreduce: all ranks apply the mean, or the sum, of all gradients at every update."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.communication import operations
from hvd_imgcls.keras.synchronization.mode import Formula, SynchronizationMode


class Allreduce(SynchronizationMode):
    """Sums or averages the gradients, one operation per group."""

    def reduce(self, gradients: list[tf.Tensor], groups: list[list[int]]) -> list[tf.Tensor]:
        """See `SynchronizationMode.reduce`. Collective: every rank must call this."""
        reduced: list[Any] = [None] * len(gradients)
        for number, group in enumerate(groups):
            results = operations.grouped_allreduce(
                [gradients[index] for index in group],
                name=f"{self.name}.group_{number}",
                compression=self.settings.compression,
                process_set=self.settings.process_set,
                **self._factors(),
            )
            for index, tensor in zip(group, results, strict=True):
                reduced[index] = tensor
        return reduced

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Returns the concatenated rows of all ranks. Collective: every rank must call this."""
        return operations.allreduce_slices(
            slices, self.settings.op, name, self.settings.process_set
        )

    def formula(self) -> Formula | None:
        """Returns the sum or the mean over the ranks."""
        if self.settings.op == ReduceOp.SUM:
            return lambda rows: rows.sum(axis=0)
        return lambda rows: rows.mean(axis=0)

    def _factors(self) -> dict[str, Any]:
        op, divisor = self.settings.op, self.settings.gradient_predivide_factor
        if divisor == 1.0:
            return {"op": op}
        return {
            "op": ReduceOp.SUM,
            "prescale_factor": 1.0 / divisor,
            "postscale_factor": divisor / self.size,
        }
