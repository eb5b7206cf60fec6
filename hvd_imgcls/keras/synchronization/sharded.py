"""Sharded: every rank updates its part of the weights, and has the optimizer's state for it only.

ZeRO, stage 1 (Rajbhandari et al. 2020, arXiv:1910.02054). A rank receives its part of the reduced
gradients, updates its part of the weights, and sends it to the others: as many bytes as an
allreduce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.sharding.shards import Shards
from hvd_imgcls.keras.synchronization.grouping import buckets, by_dtype
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class Sharded(SynchronizationMode):
    """Reduces gradients to parts.

    Attributes:
        shards: This rank's parts of the variables.
    """

    reduces_to_equal = False

    keeps_optimizer_state = True

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        super().__init__(settings, name)
        process_set = settings.process_set
        rank = distributed.current().topology.rank
        ranks = list(process_set.ranks or range(settings.size))
        position = ranks.index(rank) if settings.size > 1 else 0
        self.shards = Shards(process_set, settings.size, position)
        self._variables: list[Any] = []

    def build(self, variables: Sequence[Any], slots: Sequence[Any] = ()) -> None:
        """See `SynchronizationMode.build`."""
        self._variables = list(variables)

    def reduce(
        self, gradients: list[tf.Tensor], variables: list[Any], groups: list[list[int]]
    ) -> list[tf.Tensor]:
        """Returns this rank's parts of the reduced gradients. Collective."""
        return self.shards.reduce(
            gradients,
            groups,
            op=self.settings.op,
            compression=self.settings.compression,
            name=f"{self.name}.parts",
        )

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Raises a ConfigError: a part has other rows on every rank."""
        raise ConfigError(
            "shard_optimizer_state",
            got="a gradient that is a tf.IndexedSlices",
            expected="dense gradients",
            fix="pass sparse_as_dense=True",
        )

    def apply(
        self, reduced: Sequence[Any], variables: Sequence[Any], apply: Callable[..., None]
    ) -> None:
        """Updates this rank's parts of variables, and shares them. Collective.

        Args:
            reduced: Result of `reduce`; on one rank, the gradients.
            variables: The whole variables.
            apply: Applies gradients to parts.
        """
        if self.size == 1:
            reduced = [
                self.shards.part_of(tf.convert_to_tensor(gradient))
                if gradient is not None and self.shards.has(variable)
                else gradient
                for gradient, variable in zip(reduced, variables, strict=True)
            ]
        self.shards.take(variables)
        apply(reduced, self.shards.of(variables))
        self.share(variables)

    def share(self, variables: Sequence[Any]) -> None:
        """Makes the weights those of the parts of all ranks. Collective."""
        self.shards.share(variables, _groups, f"{self.name}.weights")

    def bytes_sent(self, updates: int) -> int:
        """See `SynchronizationMode.bytes_sent`."""
        total = 0
        for variable in self._variables:
            native = native_variable(variable)
            width = native.dtype.size
            is_halved = self.settings.compression is Compression.fp16
            sent = min(width, 2) if is_halved and native.dtype.is_floating else width
            share = (self.size - 1) / self.size * native.shape.num_elements()
            total += round(share * (sent + width))
        return updates * total

    def rank_state(self) -> dict[str, Any]:
        """See `SynchronizationMode.rank_state`."""
        return {"parts": self.shards.state()}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """See `SynchronizationMode.restore_rank_state`."""
        are_whole = "all parts" in state
        values = state["all parts"] if are_whole else state["parts"]
        self.shards.restore(values, are_whole=are_whole)


def without_parts(variables: Sequence[Any], mode: SynchronizationMode) -> list[Any]:
    """Returns the variables of an optimizer that do not belong to parts of others.

    Args:
        variables: Variables of the optimizer.
        mode: Its synchronization mode.
    """
    if not isinstance(mode, Sharded):
        return list(variables)
    parts = {id(slot) for slot, _ in mode.shards.slots}
    return [variable for variable in variables if id(variable) not in parts]


def _groups(parts: list[tf.Tensor]) -> list[list[int]]:
    return by_dtype(buckets(parts), parts)
