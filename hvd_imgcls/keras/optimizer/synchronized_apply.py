"""The methods of Keras's optimizers that communicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.graph.building import create_optimizer_variables
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.optimizer.gradients import variables_of
from hvd_imgcls.keras.synchronization.sharded import Sharded
from hvd_imgcls.keras.synchronization.synchronizer import Apply, Synchronizer
from hvd_imgcls.optimizers.extending import Extension, whole


class SynchronizedApply(Extension):
    """Reduces gradients before the optimizer applies them."""

    _synchronizer: Synchronizer

    @without_autograph
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Reduces the gradients and applies them. Collective: every rank must call this."""
        synchronizer = self._synchronizer
        plain_apply = self._apply_function(super().apply)  # type: ignore[misc]
        if len(grads) == 0:
            return
        variables = variables_of(self, grads, trainable_variables)
        create_optimizer_variables(self, variables)
        if synchronizer.has_nothing_to_do:
            plain_apply(list(grads), variables)
        else:
            synchronizer.step(self, grads, variables, plain_apply)

    def _apply_function(self, plain_apply: Apply) -> Apply:
        """Returns what applies reduced gradients to variables."""
        return plain_apply

    def register_local_var(self, var: Any) -> None:
        """Horovod's name for `register_local_variable`."""
        self._synchronizer.reduction.local_variables.add(id(native_variable(var)))


class ShardedApply(SynchronizedApply):
    """Has the state of this rank's parts of the variables only."""

    def build(self, variables: Sequence[Any]) -> None:
        """Builds for the parts of the variables."""
        super().build(self._mode.shards.build(list(map(whole, variables))))  # type: ignore[misc]

    @property
    def _mode(self) -> Sharded:
        mode = self._synchronizer.mode
        assert isinstance(mode, Sharded)  # noqa: S101
        return mode

    def _apply_function(self, plain_apply: Apply) -> Apply:
        """Returns what applies gradients to parts."""

        def apply(gradients: list[Any], variables: list[Any]) -> None:
            self._mode.apply(gradients, variables, plain_apply)

        return apply

    def add_variable_from_reference(self, reference_variable: Any, *args: Any, **kw: Any) -> Any:
        """Creates a variable, and notes it if it belongs to a part."""
        made = super().add_variable_from_reference(  # type: ignore[misc]
            reference_variable, *args, **kw
        )
        if whole(reference_variable) is not reference_variable:
            self._mode.shards.slots.append((made, whole(reference_variable)))
        return made

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Clips by the norms of the whole gradients. Collective."""
        optimizer: Any = self
        most = optimizer.clipnorm or optimizer.global_clipnorm
        if not most:
            clipped: list[Any] = super()._clip_gradients(grads)  # type: ignore[misc]
            return clipped
        norms = self._mode.shards.norms(grads, f"norms_{self._synchronizer.number}")
        if not optimizer.clipnorm:
            norms = tf.fill(tf.shape(norms), tf.norm(norms))
        factors = tf.unstack(most / tf.maximum(norms, most), num=len(grads))
        return [
            None if gradient is None else gradient * tf.cast(factor, gradient.dtype)
            for gradient, factor in zip(grads, factors, strict=True)
        ]

    def share_parts(self) -> None:
        """Makes the weights those of the parts of all ranks. Collective."""
        optimizer: Any = self
        self._mode.share(list(map(whole, optimizer._trainable_variables)))

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Finalizes the parts, and shares them. Collective."""
        optimizer: Any = self
        if optimizer.use_ema:
            # A callback may have changed the weights.
            self._mode.shards.take(list(map(whole, optimizer._trainable_variables)))
            super().finalize_variable_values(optimizer._trainable_variables)  # type: ignore[misc]
            self.share_parts()

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing: this rank has only a part."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing."""
