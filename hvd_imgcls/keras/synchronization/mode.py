"""What keeps the ranks in step: the interface of a synchronisation mode.

A mode decides what a rank applies in place of its own gradients, and when the ranks hold the
same weights. What holds for every mode is outside of it: which gradients stay local, groups,
clocks and the check of the first reduction (`reduction.py`); accumulation, skipped updates
and the comparison of weights (`synchronizer.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.synchronization.settings import ReductionSettings

Formula = Callable[[np.ndarray], np.ndarray]
"""From the ranks' gradients `[ranks, values]`, float64, to the reduced one `[values]`."""


class SynchronizationMode(ABC):
    """One way to keep the ranks in step.

    Every rank makes the same calls in the same order, inside the traced step. A mode that keeps
    something from one step to the next keeps it in variables that it creates in `build`, and
    returns it from `state`.

    Args:
        settings: Operation, compression and process set.
        name: Prefix of the names of its operations, the same on all ranks.

    Attributes:
        reduces_to_equal: Whether `reduce` gives the same bits on all ranks. Then the first
            reduction is checked, and an update that is not finite is known to all ranks
            without a message.
    """

    reduces_to_equal = True

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        self.settings = settings
        self.name = name

    @property
    def size(self) -> int:
        """Number of ranks that take part; 1 for a rank outside the process set."""
        return self.settings.size

    def build(self, variables: Sequence[Any]) -> None:
        """Creates what the mode keeps, eagerly, before the first update.

        Args:
            variables: The trained variables that are not local to their rank.
        """
        del variables

    @abstractmethod
    def reduce(self, gradients: list[tf.Tensor], groups: list[list[int]]) -> list[tf.Tensor]:
        """Returns what this rank applies instead of its dense gradients.

        Collective: every rank must call this.

        Args:
            gradients: This rank's, of the static shape of their variables.
            groups: Positions of the gradients that travel together, each of one dtype.
        """

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Returns what this rank applies instead of a sparse gradient.

        Collective: every rank must call this.

        Args:
            slices: This rank's.
            name: Name of the operation.

        Raises:
            ConfigError: If the mode takes dense gradients only.
        """
        raise ConfigError(
            "op",
            got=self.settings.op.name,
            expected="Average or Sum for tf.IndexedSlices",
            fix="pass sparse_as_dense=True",
        )

    def after_update(self, update: tf.Tensor, variables: Sequence[Any]) -> None:
        """Is called after every update, inside the traced step.

        Args:
            update: Number of updates made, scalar, int64.
            variables: The trained variables that are not local to their rank.
        """
        del update, variables

    def are_ranks_equal(self, updates: tf.Tensor) -> tf.Tensor | bool:
        """Returns whether weights and optimizer state are equal on all ranks after `updates`.

        They are compared over the ranks only then.

        Args:
            updates: Number of updates made, scalar, int64.
        """
        del updates
        return True

    def settle(self, variables: Sequence[Any]) -> None:
        """Gives all ranks one model, eagerly: before evaluation, callbacks and saving.

        Collective: every rank must call this.

        Args:
            variables: Variables of model and optimizer that are not local to their rank.
        """
        del variables

    def formula(self) -> Formula | None:
        """Returns what `reduce` should give, None if there is no simple formula."""
        return None

    def state(self) -> dict[str, Any]:
        """Returns what the mode keeps from one step to the next."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` returned; the mode is built."""
        del state
