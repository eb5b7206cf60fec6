"""Broadcasts the initial state to all ranks, before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import global_process_set
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.communication.objects import broadcast_variables
from hvd_imgcls.keras.graph.building import before_first_step, create_optimizer_variables, is_built
from hvd_imgcls.keras.graph.random_states import is_random_state, moved_apart
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.comparison import without_local_slots
from hvd_imgcls.keras.synchronization.sharded import without_parts
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


class BroadcastGlobalVariablesCallback(keras.callbacks.Callback):
    """Broadcasts the root's model and optimizer state before the first step.

    A model without variables is built for the shape of its first batch. Before that, versions,
    numbers of steps and epochs, and the callbacks of this package are compared across ranks, and
    at the end of every epoch the trainable weights.

    Random generators of layers (dropout, augmentation) also start from the root's seed,
    but with a different offset on each rank: otherwise all ranks would drop the same units,
    which reduces the effective batch size.

    Collective: every rank must have this callback, as the first one.

    Args:
        root_rank: The rank whose state is used.
        device: Accepted for compatibility with Horovod.
        local_variables: Variables whose values, and shapes, may differ between ranks, in addition
            to those of `PartialDistributedOptimizer`. Neither they nor the optimizer's variables
            for them are broadcast or compared.
    """

    # Every rank has this callback, so every rank is in `fit` if one is: see fit_start.py.
    starts_all_ranks = True

    def __init__(
        self, root_rank: int, device: str = "", local_variables: Iterable[Any] | None = None
    ) -> None:
        super().__init__()
        del device
        self.root_rank = root_rank
        if local_variables is None:
            local_variables = ()
        elif isinstance(local_variables, tf.Variable | keras.Variable):
            local_variables = (local_variables,)
        self._local: set[int] = set()
        for variable in local_variables:
            self.register_local_var(variable)

    def register_local_var(self, var: Any) -> None:
        """Declares a local variable, whose value may differ between ranks.

        Raises:
            ValueError: If it is not a variable.
        """
        if not isinstance(var, tf.Variable | keras.Variable):
            raise ValueError(f"All local variables must be variables. Received: {var!r}")
        self._local.add(id(native_variable(var)))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Broadcasts. Collective."""
        if distributed.current().topology.size == 1:
            return
        if is_built(self.model) and self.model.variables:
            self._broadcast()
        else:
            before_first_step(self.model, self._broadcast)

    def _is_local(self, variable: Any) -> bool:
        """Whether a variable is local here or in the model's optimizer."""
        synchronizer = synchronizer_of(self.model.optimizer)
        return id(native_variable(variable)) in self._local or (
            synchronizer is not None and synchronizer.reduction.is_local(variable)
        )

    def _broadcast(self) -> None:
        model, optimizer = self.model, self.model.optimizer
        if optimizer is not None and model.trainable_variables:
            create_optimizer_variables(optimizer, model.trainable_variables)
        synchronizer = synchronizer_of(optimizer)
        slots = list(optimizer.variables) if optimizer else []
        if synchronizer is not None:
            slots = without_parts(slots, synchronizer.mode)
        random_states = [v for v in [*model.variables, *slots] if is_random_state(v)]
        shared = [v for v in model.variables if not self._is_local(v)]
        shared += without_local_slots(slots, model.trainable_variables, self._is_local)
        is_used = synchronizer is not None and synchronizer.comparison is not None
        started = synchronizer.number if synchronizer is not None and is_used else None
        facts = {
            "model.class": type(model).__name__,
            "model.variables": len(model.variables),
            "optimizer.class": None if optimizer is None else optimizer.__class__.__name__,
            "optimizer.variables": len(optimizer.variables) if optimizer else 0,
            # One that has made updates does not compare its start again, a new one would wait.
            "optimizer.history": "new" if started is None else f"number {started}, in use",
        }
        broadcast_variables(shared, self.root_rank, facts=facts)
        for state in random_states:
            if not self._is_local(state):
                native = native_variable(state)
                native.assign(moved_apart(native.numpy(), distributed.current().topology.rank))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Synchronises the models of all ranks if necessary, and compares them. Collective."""
        if distributed.current().topology.size == 1:
            return
        optimizer = self.model.optimizer
        synchronizer = synchronizer_of(optimizer)
        shared = [v for v in self.model.trainable_variables if not self._is_local(v)]
        updates = optimizer.iterations
        if synchronizer is not None:
            if synchronizer.settings.reduction.process_set is not global_process_set:
                return  # ranks outside the set train independently
            slots = without_local_slots(
                without_parts(optimizer.variables, synchronizer.mode),
                self.model.trainable_variables,
                self._is_local,
            )
            variables = [v for v in self.model.variables if not is_random_state(v)]
            synchronizer.settle([*variables, *slots])
            shared = synchronizer.reduction.shared(shared)
            updates = updates if synchronizer.updates is None else synchronizer.updates
        if shared:
            consistency.require_same_values(
                shared,
                native_variable(updates).read_value(),
                global_process_set,
                fix="wrap the optimizer with hvd.DistributedOptimizer, or reduce the gradients of "
                "a custom train_step with hvd.DistributedGradientTape",
            )
