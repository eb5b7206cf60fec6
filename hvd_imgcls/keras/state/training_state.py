"""The state of a compiled model: variables, optimizer, synchronisation, metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.state.variables import arrays_of, assign_arrays, prepare_copies
from hvd_imgcls.keras.synchronization.comparison import without_local_slots
from hvd_imgcls.keras.synchronization.sharded import without_parts
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
from hvd_imgcls.optimizers.extending import whole

PLAIN = (bool, int, float, str, np.generic)
"""Types that JSON supports, after conversion from NumPy."""


class _VariablesState(ABC):
    """The state of some of the variables of a model.

    Args:
        model: A built model.
    """

    _owner = ""
    """Their name in errors."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def state(self) -> dict[str, Any]:
        """Returns the variables."""
        return arrays_of(self.variables)

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`.

        Raises:
            CheckpointError: If the model has different variables.
        """
        assign_arrays(self.variables, state, self._owner)

    @property
    @abstractmethod
    def variables(self) -> list[Any]:
        """The variables, in order."""


class WeightsState(_VariablesState):
    """The weights of a model, equal on all ranks: what layers declare as trainable, frozen or not.

    Without local variables of its optimizer.

    Args:
        model: A built model.
    """

    _owner = "weights of the model"

    @property
    def variables(self) -> list[Any]:
        """The variables, in order."""
        others, is_local = _not_trained(self._model), _is_local(self._model)
        return [
            variable
            for variable in self._model.variables
            if id(variable) not in others and not is_local(variable)
        ]


class StatisticsState(_VariablesState):
    """All other variables of a model: moving statistics and the states of random generators.

    They differ between ranks.

    Args:
        model: A built model.
    """

    _owner = "moving statistics and random states of the model"

    @property
    def variables(self) -> list[Any]:
        """The variables, in order."""
        others = _not_trained(self._model)
        return [variable for variable in self._model.variables if id(variable) in others]


def _not_trained(model: keras.Model) -> set[int]:
    """Returns the ids of the variables that no layer has declared as trainable."""
    declared = {
        id(variable) for layer in model._flatten_layers() for variable in layer._trainable_variables
    }
    return {id(variable) for variable in model.variables} - declared


class OptimizerState:
    """Momenta, averages, counters and numbers of a model's optimizer.

    Always refers to the model's current optimizer: recompiling the model, as
    fine-tuning does, needs no new object.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def state(self) -> dict[str, Any]:
        """Returns variables and numbers of the optimizer, and the state of its synchronizer."""
        optimizer = self._model.optimizer
        synchronizer = synchronizer_of(optimizer)
        return {
            "class": optimizer.__class__.__name__,
            "variables": arrays_of(_equal_variables(optimizer)),
            "numbers": numbers_of(optimizer),
            "synchronizer": None if synchronizer is None else synchronizer.state(_inner(optimizer)),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`.

        Collective with a distributed optimizer: every rank must call this.

        Raises:
            CheckpointError: If the optimizer has another class or other variables.
        """
        optimizer = self._model.optimizer
        if state["class"] != optimizer.__class__.__name__:
            raise CheckpointError(
                f"optimizer: got the state of {state['class']}, expected that of "
                f"{optimizer.__class__.__name__}; continue with the optimizer that wrote it"
            )
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        for name, value in state["numbers"].items():
            setattr(_inner(optimizer), name, value)
        synchronizer = synchronizer_of(optimizer)
        if synchronizer is not None and state["synchronizer"] is not None:
            synchronizer.restore(_inner(optimizer), state["synchronizer"])
        assign_arrays(_equal_variables(optimizer), state["variables"], "optimizer")


class SynchronizationState:
    """What the synchronization of a model's optimizer keeps on this rank only.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def state(self) -> dict[str, Any]:
        """Returns lists of arrays by name; empty lists if nothing differs between the ranks."""
        synchronizer = synchronizer_of(self._model.optimizer)
        return {} if synchronizer is None else synchronizer.mode.rank_state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; the optimizer must be restored."""
        synchronizer = synchronizer_of(self._model.optimizer)
        if synchronizer is not None and any(state.values()):
            synchronizer.mode.restore_rank_state(state)


class MetricsState:
    """The state of this rank's metrics within the current epoch.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def state(self) -> dict[str, Any]:
        """Returns the variables of the metrics."""
        return arrays_of(self._variables())

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; the metrics must be built.

        Raises:
            CheckpointError: If the model has different metrics.
        """
        assign_arrays(self._variables(), state, "metrics")

    def _variables(self) -> list[Any]:
        return [variable for metric in self._model.metrics for variable in metric.variables]


def prepare_copies_of(model: keras.Model) -> None:
    """Touches the memory of the first copies of weights and optimizer, in a thread.

    Args:
        model: A compiled model, built with its optimizer.
    """
    prepare_copies([WeightsState(model).variables, _equal_variables(model.optimizer)])


def _is_local(model: keras.Model) -> Callable[[Any], bool]:
    """Returns whether a variable is local to its rank."""
    synchronizer = synchronizer_of(getattr(model, "optimizer", None))
    return (lambda _: False) if synchronizer is None else synchronizer.reduction.is_local


def _equal_variables(optimizer: Any) -> list[Any]:
    """Returns the variables of an optimizer, without those of local weights and of parts."""
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is None:
        return list(optimizer.variables)
    variables = without_parts(optimizer.variables, synchronizer.mode)
    if not synchronizer.reduction.local_variables:
        return variables
    trained = [whole(variable) for variable in _inner(optimizer)._trainable_variables]
    return without_local_slots(variables, trained, synchronizer.reduction.is_local)


def local_slots(optimizer: Any) -> list[Any]:
    """Returns the variables of an optimizer that belong to local weights, in order."""
    equal = {id(variable) for variable in _equal_variables(optimizer)}
    return [variable for variable in optimizer.variables if id(variable) not in equal]


def numbers_of(optimizer: Any) -> dict[str, Any]:
    """Returns the plain values of an optimizer other than variables, such as momentum."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(_inner(optimizer)).items()
        if not name.startswith("_") and (value is None or isinstance(value, PLAIN))
    }


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)
