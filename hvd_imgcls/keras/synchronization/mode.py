"""The interface of a synchronization mode, which keeps the ranks in step.

A mode determines what a rank applies instead of its own gradients, and when the ranks hold the
same weights. Everything common to all modes is elsewhere: local variables, groups,
clocks and the check of the first reduction in `reduction.py`; accumulation, skipped updates
and the comparison of weights in `synchronizer.py`.
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
"""From the ranks' gradients `[ranks, values]`, float64, to the reduced ones `[values]`."""


class SynchronizationMode(ABC):
    """A way of keeping the ranks in step.

    Every rank makes the same calls in the same order, inside the traced step. State that a mode
    keeps between steps is held in variables created in `build`, and returned by `state`.

    Args:
        settings: Operation, compression and process set.
        name: Prefix of the names of its operations, the same on all ranks.

    Attributes:
        reduces_to_equal: Whether `reduce` returns the same bits on all ranks. If so, the first
            reduction is checked, and NaN or infinite updates are detected on all ranks
            without communication.
    """

    reduces_to_equal = True

    keeps_optimizer_state = False
    """Whether the optimizer's state differs between ranks even where the weights are equal."""

    may_skip = False
    """Whether there are steps without an update, as `has_update` says."""

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        self.settings = settings
        self.name = name

    @property
    def size(self) -> int:
        """Number of participating ranks; 1 for a rank outside the process set."""
        return self.settings.size

    def build(self, variables: Sequence[Any], slots: Sequence[Any] = ()) -> None:
        """Creates the state of the mode, eagerly, before the first update.

        Args:
            variables: The trainable variables that are not local.
            slots: The optimizer's variables for them.
        """
        del variables, slots

    @abstractmethod
    def reduce(
        self, gradients: list[tf.Tensor], variables: list[Any], groups: list[list[int]]
    ) -> list[tf.Tensor]:
        """Returns what this rank applies instead of its dense gradients.

        Collective: every rank must call this.

        Args:
            gradients: This rank's gradients, with the static shapes of their variables.
            variables: Their variables, some of those that `build` was given.
            groups: Indices of the gradients that are sent together, each of a single dtype.
        """

    def reduce_slices(self, slices: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Returns what this rank applies instead of a sparse gradient.

        Collective: every rank must call this.

        Args:
            slices: The gradient of this rank.
            name: Name of the operation.

        Raises:
            ConfigError: If the mode supports only dense gradients.
        """
        raise ConfigError(
            "op",
            got=self.settings.op.name,
            expected="Average or Sum for tf.IndexedSlices",
            fix="pass sparse_as_dense=True",
        )

    def sent(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Returns what this rank has contributed to the result of `reduce`, after it was called.

        Args:
            gradients: Its gradients of this step.
        """
        return gradients

    def delay(self, updates: int) -> int:
        """Returns how many steps before an update the gradients were computed that it applies.

        Args:
            updates: Number of completed updates, with this one.
        """
        del updates
        return 0

    def has_update(self) -> tf.Tensor:
        """Returns whether what `reduce` returned is applied, scalar, bool, equal on all ranks.

        Called after `reduce`, if `may_skip`. Otherwise only `iterations` is incremented.
        """
        return tf.constant(True)

    def after_update(self, update: tf.Tensor, variables: Sequence[Any]) -> None:
        """Called after every update, inside the traced step.

        Args:
            update: Number of completed updates, scalar, int64.
            variables: The trainable variables that are not local.
        """
        del update, variables

    def are_ranks_equal(self, updates: tf.Tensor) -> tf.Tensor | bool:
        """Returns whether weights and optimizer state are equal on all ranks after `updates`.

        They are compared across ranks only in this case.

        Args:
            updates: Number of completed updates, scalar, int64.
        """
        del updates
        return True

    def is_settled(self) -> bool:
        """Returns whether the model is equal on all ranks now, eagerly; the same on all ranks."""
        return True

    def settle(self, variables: Sequence[Any]) -> None:
        """Makes the model equal on all ranks, eagerly: before evaluation, callbacks and saving.

        Collective: every rank must call this.

        Args:
            variables: Variables of model and optimizer that are not local.
        """
        del variables

    def bytes_sent(self, updates: int) -> int:
        """Returns how many bytes of gradients and weights a rank has sent, by their formulas.

        Args:
            updates: Number of completed updates.
        """
        del updates
        return 0

    def chosen(self) -> dict[str, Any]:
        """Returns what measurements have chosen: `compression`, or the number of `groups`.

        Empty before that, and if nothing is chosen by measurement.
        """
        return {}

    def drift(self) -> float | None:
        """Returns how far this rank's weights were from the mean when they were averaged last.

        The norm of the difference relative to that of the mean; None if the ranks are always equal.
        """
        return None

    def formula(self) -> Formula | None:
        """Returns the expected result of `reduce`, or None if there is no simple formula."""
        return None

    def state(self) -> dict[str, Any]:
        """Returns the state that the mode keeps between steps, equal on all ranks."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; the mode must be built."""
        del state

    def rank_state(self) -> dict[str, Any]:
        """Returns the state that differs between ranks: lists of arrays by name.

        On another number of ranks, each gets the mean of them.
        """
        return {}

    def restore_rank_state(self, state: dict[str, Any]) -> None:
        """Restores the result of `rank_state`; the mode must be built."""
        del state
