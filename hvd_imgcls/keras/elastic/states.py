"""What survives the loss of a host: the states of `hvd.elastic`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.objects import broadcast_object, broadcast_variables
from hvd_imgcls.keras.elastic.commits import Commits
from hvd_imgcls.keras.graph.building import is_built
from hvd_imgcls.keras.settling import is_settled
from hvd_imgcls.keras.state.registration import register_model
from hvd_imgcls.launcher.elastic.ranks import DIRECTORY
from hvd_imgcls.state_registry import State as Saved
from hvd_imgcls.state_registry import StateRegistry, of_the_root
from hvd_imgcls.stop_request import StopRequest


class State:
    """Named values that are committed together, as attributes of this object.

    Args:
        **attributes: Initial values: None, booleans, numbers, text, NumPy arrays, or lists and
            dictionaries with text as keys of these. Equal on all ranks once `run` begins.
    """

    def __init__(self, **attributes: Any) -> None:
        self._names = list(attributes)
        self._reset_callbacks: list[Callable[[], None]] = []
        self._commits: Commits | None = None
        for name, value in attributes.items():
            setattr(self, name, value)
        self._kept = self._attributes()

    def register_reset_callbacks(self, callbacks: Sequence[Callable[[], None]]) -> None:
        """Adds functions that are called after the state was restored in new processes.

        Args:
            callbacks: Functions without arguments, for example one that sets the learning rate
                for the number of ranks.
        """
        self._reset_callbacks.extend(callbacks)

    def commit(self) -> None:
        """Saves the state, and ends the ranks if their hosts change.

        Collective: every rank must call this. The state is copied at once and written in the
        background. Does nothing between two averages of `LocalSGD`, where the ranks differ.

        Raises:
            FitStoppedError: On all ranks, if one was asked to stop; a `SystemExit` with code 75.
        """
        if self._can_commit():
            self.save()
            if self._commits is not None:
                self._commits.write()
        self.check_host_updates()

    def check_host_updates(self) -> None:
        """Saves the state and ends the ranks if their hosts change. Collective.

        Raises:
            FitStoppedError: On all ranks, if one was asked to stop; a `SystemExit` with code 75.
        """
        if self._commits is not None and self._can_commit():
            self._commits.stop_if_asked()

    def save(self) -> None:
        """Keeps the attributes, for `restore` in this process."""
        self._kept = self._attributes()

    def restore(self) -> None:
        """Gives the attributes the values of the last `save`, `commit` or `sync`."""
        for name, value in self._kept.items():
            setattr(self, name, value)

    def sync(self) -> None:
        """Gives all ranks the values of the root. Collective: every rank must call this."""
        for name, value in broadcast_object(self._attributes(), 0).items():
            setattr(self, name, value)
        self.save()

    def _begin(self, stop: StopRequest) -> None:
        """Restores the last commit, or gives all ranks the state of the root. Collective."""
        states = StateRegistry()
        self._register(states)
        directory = os.environ.get(DIRECTORY)
        commits = Commits(None if not directory else Path(directory), states, stop)
        found = commits.read()
        if found is None:
            self.sync()
        else:
            self.save()
            for callback in self._reset_callbacks:
                callback()
        self._commits = commits

    def _end(self) -> None:
        """Waits for what is being written. Collective."""
        if self._commits is not None:
            self._commits.wait()
            self._commits = None

    def _register(self, states: StateRegistry) -> None:
        states.register("attributes", _Attributes(self), combine=of_the_root)

    def _can_commit(self) -> bool:
        return True

    def _attributes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}


class ObjectState(State):
    """A state of values only.

    Args:
        bcast_object: Accepted for compatibility with Horovod.
        get_rank: Accepted for compatibility with Horovod.
        **attributes: See `State`.
    """

    def __init__(self, bcast_object: Any = None, get_rank: Any = None, **attributes: Any) -> None:
        super().__init__(**attributes)


class KerasState(State):
    """Weights, optimizer and random states of a model, and named values.

    Args:
        model: A compiled and built model.
        optimizer: Accepted for compatibility with Horovod; None or the model's.
        backend: Accepted for compatibility with Horovod.
        **attributes: See `State`, for example `epoch=0, batch=0`.

    Raises:
        ConfigError: If the model is not compiled or has no weights yet, or the optimizer is not
            its own.
    """

    def __init__(
        self, model: keras.Model, optimizer: Any = None, backend: Any = None, **attributes: Any
    ) -> None:
        if getattr(model, "optimizer", None) is None or not is_built(model):
            raise ConfigError(
                "KerasState(model)",
                got="a model that is not compiled or has no weights yet",
                expected="a compiled and built model",
                fix="call model.compile(...), and model.build(shape) or fit one step, before",
            )
        if optimizer is not None and optimizer is not model.optimizer:
            raise ConfigError(
                "KerasState(optimizer)",
                got="another optimizer than the model's",
                expected="None, or model.optimizer",
                fix="pass the optimizer to model.compile",
            )
        super().__init__(**attributes)
        self.model = model

    def sync(self) -> None:
        """Gives all ranks the variables and values of the root. Collective."""
        broadcast_variables([*self.model.variables, *self.model.optimizer.variables], 0)
        super().sync()

    def _begin(self, stop: StopRequest) -> None:
        # As `fit` does, so that there is a state to restore.
        self.model.optimizer.build(self.model.trainable_variables)
        super()._begin(stop)

    def _register(self, states: StateRegistry) -> None:
        super()._register(states)
        # Metrics are those of an epoch, which `fit` begins anew.
        register_model(states, self.model, _Nothing())

    def _can_commit(self) -> bool:
        return is_settled(self.model)


class TensorFlowKerasState(KerasState):
    """The name under which Horovod has `KerasState` in `horovod.tensorflow.elastic`."""


class _Attributes:
    """The attributes of a state, for the registry."""

    def __init__(self, owner: State) -> None:
        self._owner = owner

    def state(self) -> Saved:
        """Returns the attributes."""
        return self._owner._attributes()

    def restore(self, state: Saved) -> None:
        """Sets the attributes."""
        for name, value in state.items():
            setattr(self._owner, name, value)


class _Nothing:
    """No state."""

    def state(self) -> Saved:
        """Returns no metrics, as between two epochs."""
        return {"names": [], "values": []}

    def restore(self, state: Saved) -> None:
        """Restores nothing."""
