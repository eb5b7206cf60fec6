"""The state of a last layer that is divided by class: weights and optimizer state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.state.training_state import local_slots
from hvd_imgcls.keras.state.variables import arrays_of, assign_arrays
from hvd_imgcls.state_registry import State


class ClassPartsState:
    """This rank's part of the last layer, and of the optimizer's state of it.

    The last axis of every array are the classes: optimizers treat all values of a variable alike.

    Args:
        model: The compiled model.
        head: Its last layer.
    """

    def __init__(self, model: keras.Model, head: ClassShardedHead) -> None:
        self._model = model
        self._head = head

    def state(self) -> State:
        """Returns the number of the part, that of the weights, and the arrays."""
        return {
            "part": self._head.part.number,
            "num_weights": len(self._head.variables),
            **arrays_of(self._variables()),
        }

    def restore(self, state: State) -> None:
        """Restores the result of `state`, or of `whole_of_parts`; the optimizer must be restored.

        Raises:
            CheckpointError: If the model has another last layer or optimizer.
        """
        values = state["values"]
        if state["part"] is None:
            classes = self._head.part.classes
            values = [value[..., classes.start : classes.stop] for value in values]
        owner = "last layer"
        assign_arrays(self._variables(), {"names": state["names"], "values": values}, owner)

    def _variables(self) -> list[Any]:
        weights = self._head.variables
        own = {id(native_variable(weight)) for weight in weights}
        trained = [v for v in self._model.trainable_variables if id(native_variable(v)) in own]
        return [*weights, *(local_slots(self._model.optimizer) if trained else ())]


def whole_of_parts(states: Sequence[State], rank: int) -> State:
    """Returns the arrays of all parts together, for every rank.

    Args:
        states: Results of `ClassPartsState.state` of all ranks.
        rank: The rank that the state is for.
    """
    del rank
    # Copies of a part are equal.
    parts = {state["part"]: state for state in states}
    columns = zip(*(parts[number]["values"] for number in sorted(parts)), strict=True)
    return {
        "part": None,
        "num_weights": states[0]["num_weights"],
        "names": states[0]["names"],
        "values": [np.concatenate(column, axis=-1) for column in columns],
    }


def with_whole_head(weights: State, states: Sequence[State]) -> State:
    """Returns the weights of a whole model, whose last layer comes last.

    Args:
        weights: Result of `WeightsState.state` of the divided model.
        states: Results of `ClassPartsState.state` of all ranks.
    """
    head = whole_of_parts(states, 0)
    number = head["num_weights"]
    return {
        "names": [*weights["names"], *head["names"][:number]],
        "values": [*weights["values"], *head["values"][:number]],
    }
