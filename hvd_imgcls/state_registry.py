"""The state of a run: named objects that can be asked for it and given it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from hvd_imgcls.errors import CheckpointError

State = dict[str, Any]
"""JSON values and NumPy arrays, nested in lists and dictionaries with string keys."""


class Stateful(Protocol):
    """What keeps something from one step to the next."""

    def state(self) -> State:
        """Returns all that is kept. The values do not change when the training goes on."""

    def restore(self, state: State) -> None:
        """Takes what `state` returned, in this process or another one."""


class StateRegistry:
    """The stateful objects of a run, by name, in the order in which they are restored."""

    def __init__(self) -> None:
        self._owners: dict[str, Stateful] = {}
        self._differs: set[str] = set()

    def register(self, name: str, owner: Stateful, *, differs_by_rank: bool = False) -> None:
        """Adds an object.

        Args:
            name: Of letters, digits, dots and underscores; unique.
            owner: The object.
            differs_by_rank: Whether each rank has a state of its own.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self._owners:
            raise ValueError(f"the name {name!r} is registered already")
        self._owners[name] = owner
        if differs_by_rank:
            self._differs.add(name)

    def keep_only(self, *names: str) -> None:
        """Forgets all objects but those of these names."""
        self._owners = {name: owner for name, owner in self._owners.items() if name in names}

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return list(self._owners)

    def differs_by_rank(self, name: str) -> bool:
        """Returns whether each rank has a state of its own under this name."""
        return name in self._differs

    def states(self) -> dict[str, State]:
        """Returns the state of every object, by name.

        Raises:
            TypeError: If an object returns something that is neither JSON nor an array.
        """
        states = {name: owner.state() for name, owner in self._owners.items()}
        for name, state in states.items():
            _require_plain(state, name)
        return states

    def restore(self, states: Mapping[str, State]) -> None:
        """Gives every object its state.

        Raises:
            CheckpointError: If a state is missing, or there is one for no object.
        """
        missing = [name for name in self._owners if name not in states]
        unknown = [name for name in states if name not in self._owners]
        if missing or unknown:
            raise CheckpointError(
                f"the state of a run: got {', '.join(states) or 'nothing'}, expected "
                f"{', '.join(self._owners)}; continue with the version and the configuration "
                "that wrote it"
            )
        for name, owner in self._owners.items():
            owner.restore(states[name])


def _require_plain(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{name}: the key {key!r} is not a string")
            _require_plain(item, f"{name}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _require_plain(item, f"{name}[{index}]")
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{name}: an array of Python objects")
    elif not (value is None or type(value) in (bool, int, float, str)):
        raise TypeError(f"{name}: {type(value).__name__} is neither JSON nor an array")
