"""Averages tensors over the ranks, compressed or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.communication import operations
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.compression.choice import make_lossy_mean
from hvd_imgcls.keras.compression.lossy_mean import LossyMean, Residuals
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class Averaging:
    """Sums or averages tensors that belong to variables, such as gradients.

    Args:
        settings: Operation, compression and process set.
    """

    def __init__(self, settings: ReductionSettings) -> None:
        self._settings = settings
        self._lossy: LossyMean | None = None
        if settings.is_lossy:
            self._lossy = make_lossy_mean(settings.compression, settings.process_set)
        self._variables: list[Any] = []

    def build(self, variables: Sequence[Any], residuals: Residuals | None = None) -> None:
        """Creates the state of the compression, eagerly, before the first update.

        Args:
            variables: The variables that tensors may belong to.
            residuals: See `LossyMean.build`.
        """
        self._variables = list(variables)
        if self._lossy is not None:
            self._lossy.build(variables, residuals)
            with tf.init_scope():
                self._count = tf.Variable(0, dtype=tf.int64, trainable=False)

    def reduce(
        self,
        tensors: Sequence[tf.Tensor],
        variables: Sequence[Any],
        groups: list[list[int]],
        name: str,
        is_applied: tf.Tensor | bool = True,
    ) -> list[tf.Tensor]:
        """Returns the sums or means over the ranks.

        Collective: every rank must call this.

        Args:
            tensors: Of this rank, of the static shapes of their variables.
            variables: Their variables.
            groups: Indices of the tensors that are sent together, each of a single dtype.
            name: Prefix of the names of its operations, the same on all ranks.
            is_applied: Whether the result will be used.
        """
        lossy = self._lossy
        if lossy is None:
            return self._exact(tensors, groups, f"{name}.group")
        compressed = [lossy.compresses(variable) for variable in variables]
        reduced: list[Any] = [None] * len(tensors)
        plain_groups = [[i for i in group if not compressed[i]] for group in groups]
        for index, tensor in enumerate(
            self._exact(tensors, [group for group in plain_groups if group], f"{name}.group")
        ):
            reduced[index] = tensor
        chosen = [index for index, is_compressed in enumerate(compressed) if is_compressed]
        if chosen:
            position = {index: number for number, index in enumerate(chosen)}
            rest = [[position[i] for i in group if i in position] for group in groups]
            results = self._compressed(
                [tensors[index] for index in chosen],
                [variables[index] for index in chosen],
                [group for group in rest if group],
                name,
                is_applied,
            )
            for index, tensor in zip(chosen, results, strict=True):
                reduced[index] = tensor
        self._count.assign_add(1)
        return reduced

    def _compressed(
        self,
        tensors: list[tf.Tensor],
        variables: list[Any],
        groups: list[list[int]],
        name: str,
        is_applied: tf.Tensor | bool,
    ) -> list[tf.Tensor]:
        """Returns the reduced tensors, not compressed during the warm-up. Collective."""
        settings, lossy = self._settings, self._lossy
        assert lossy is not None  # noqa: S101

        def compressed() -> list[tf.Tensor]:
            means = lossy.mean(tensors, variables, groups, f"{name}.compressed", is_applied)
            if settings.op == ReduceOp.SUM:
                return [mean * float(settings.size) for mean in means]
            return means

        if not settings.compression.warmup_steps:
            return compressed()
        is_warm = self._count.read_value() >= settings.compression.warmup_steps
        reduced: list[tf.Tensor] = tf.cond(
            is_warm, compressed, lambda: self._exact(tensors, groups, f"{name}.warm_up")
        )
        return reduced

    def _exact(self, tensors: Sequence[tf.Tensor], groups: list[list[int]], name: str) -> list[Any]:
        """Returns the reduced tensors of the groups, None for others. Collective."""
        reduced: list[Any] = [None] * len(tensors)
        compression = Compression.none if self._settings.is_lossy else self._settings.compression
        for number, group in enumerate(groups):
            results = operations.grouped_allreduce(
                [tensors[index] for index in group],
                name=f"{name}_{number}",
                compression=compression,
                process_set=self._settings.process_set,
                **self._factors(),
            )
            for index, tensor in zip(group, results, strict=True):
                reduced[index] = tensor
        return reduced

    def _factors(self) -> dict[str, Any]:
        op, divisor = self._settings.op, self._settings.gradient_predivide_factor
        if divisor == 1.0:
            return {"op": op}
        return {
            "op": ReduceOp.SUM,
            "prescale_factor": 1.0 / divisor,
            "postscale_factor": divisor / self._settings.size,
        }

    def bytes_sent(self, reductions: int) -> int:
        """Returns how many bytes a rank has sent, on average over the ranks.

        Without headers, for dense gradients of all variables: on N ranks 2 (N - 1) / N times their
        size, as in a ring (Patarasuk and Yuan 2009), or what the compression says.

        Args:
            reductions: Number of reductions, with those of the warm-up.
        """
        exact = sum(self._exact_bytes(variable) for variable in self._variables)
        if self._lossy is None:
            return reductions * exact
        compressed = [v for v in self._variables if self._lossy.compresses(v)]
        saved = sum(self._exact_bytes(variable) for variable in compressed)
        saved -= self._lossy.bytes_sent(compressed)
        warm_up = min(reductions, self._settings.compression.warmup_steps)
        return reductions * exact - (reductions - warm_up) * saved

    def _exact_bytes(self, variable: Any) -> int:
        native, size = native_variable(variable), self._settings.size
        width = native.dtype.size
        if self._settings.compression is Compression.fp16 and native.dtype.is_floating:
            width = min(width, 2)
        return round(2 * (size - 1) / size * width * native.shape.num_elements())

    def state(self) -> dict[str, Any]:
        """Returns the state that is equal on all ranks."""
        if self._lossy is None or not self._variables:
            return {}
        return {"count": int(self._count.numpy()), **self._lossy.state(self._variables)}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        if self._lossy is not None and state:
            self._count.assign(state["count"])
            self._lossy.restore(state, self._variables)

    def rank_state(self) -> dict[str, Any]:
        """Returns what compression has taken from the tensors of this rank and not yet sent."""
        if self._lossy is None:
            return {"residuals": []}
        return {"residuals": self._lossy.residuals(self._variables)}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """Restores the result of `rank_state`, or the means over the ranks."""
        if self._lossy is not None:
            self._lossy.restore_residuals(state["residuals"], self._variables)
