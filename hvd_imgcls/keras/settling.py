"""Whether the model is equal on all ranks between two updates, and making it so."""

from __future__ import annotations

import keras

from hvd_imgcls.keras.graph.random_states import is_random_state
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


def is_settled(model: keras.Model) -> bool:
    """Returns whether the model is equal on all ranks now; the same on all ranks."""
    synchronizer = synchronizer_of(model.optimizer)
    return synchronizer is None or synchronizer.is_settled


def settle(model: keras.Model) -> None:
    """Makes the model equal on all ranks, if its synchronization mode has left them apart.

    Collective: every rank must call this.
    """
    synchronizer = synchronizer_of(model.optimizer)
    if synchronizer is not None:
        variables = [*model.variables, *model.optimizer.variables]
        synchronizer.settle([v for v in variables if not is_random_state(v)])
