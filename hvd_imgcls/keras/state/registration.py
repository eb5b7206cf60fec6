"""Registers the state of a model that is being trained."""

from __future__ import annotations

import keras

from hvd_imgcls.keras.state.combining import mean_statistics, of_other_ranks, sum_on_root
from hvd_imgcls.keras.state.training_state import (
    OptimizerState,
    StatisticsState,
    SynchronizationState,
    WeightsState,
)
from hvd_imgcls.state_registry import Stateful, StateRegistry


def register_model(
    states: StateRegistry, model: keras.Model, metrics: Stateful, prefix: str = ""
) -> None:
    """Registers weights, optimizer, moving statistics, random states and metrics of a model.

    Args:
        states: The states of the training.
        model: A compiled model.
        metrics: The state of its metrics on this rank.
        prefix: Beginning of the names.
    """
    states.register(f"{prefix}weights", WeightsState(model))
    states.register(f"{prefix}optimizer", OptimizerState(model))
    states.register(f"{prefix}synchronization", SynchronizationState(model), combine=of_other_ranks)
    states.register(f"{prefix}statistics", StatisticsState(model), combine=mean_statistics)
    states.register(f"{prefix}metrics", metrics, combine=sum_on_root)
