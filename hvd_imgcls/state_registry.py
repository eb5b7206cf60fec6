"""The state of a run: named objects whose state can be saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from hvd_imgcls.errors import CheckpointError

State = dict[str, Any]
"""JSON values and NumPy arrays, nested in lists and dictionaries with string keys."""


class Stateful(Protocol):
    """An object that keeps state between steps."""

    def state(self) -> State:
        """Returns the state. Its values do not change when training continues."""

    def restore(self, state: State) -> None:
        """Restores the result of `state`, in this process or another one."""


Combine = Callable[[Sequence[State], int], State]
"""From the states of all ranks of a run, to that of a rank (the second argument) if the run is
resumed on another number of ranks."""


def of_the_root(states: Sequence[State], rank: int) -> State:
    """Returns the state of the root for every rank."""
    del rank
    return states[0]


class StateRegistry:
    """The stateful objects of a run, by name, in the order in which they are restored."""

    def __init__(self) -> None:
        self._owners: dict[str, Stateful] = {}
        self._combine: dict[str, Combine] = {}

    def register(
        self,
        name: str,
        owner: Stateful,
        *,
        combine: Combine | None = None,
    ) -> None:
        """Adds an object.

        Args:
            name: Letters, digits, dots and underscores; unique.
            owner: The object.
            combine: For a state that differs between ranks: gives it on another number of ranks.
                None if it is equal on all ranks.

        Raises:
            ValueError: If the name is already registered.
        """
        if name in self._owners:
            raise ValueError(f"the name {name!r} is already registered")
        self._owners[name] = owner
        if combine is not None:
            self._combine[name] = combine

    def keep_only(self, *names: str) -> None:
        """Removes all objects except those with these names."""
        self._owners = {name: owner for name, owner in self._owners.items() if name in names}
        self._combine = {name: how for name, how in self._combine.items() if name in names}

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return list(self._owners)

    def states(self, *, only_differing: bool = False) -> dict[str, State]:
        """Returns the state of every object, by name.

        Args:
            only_differing: Leaves out those that are equal on all ranks.

        Raises:
            TypeError: If an object returns something that is neither JSON nor an array.
        """
        states = {
            name: owner.state()
            for name, owner in self._owners.items()
            if not only_differing or name in self._combine
        }
        for name, state in states.items():
            _require_plain(state, name)
        return states

    def restore_on(
        self, states_by_rank: Sequence[Mapping[str, State]], rank: int, size: int
    ) -> None:
        """Restores the state of every object on any number of ranks.

        Args:
            states_by_rank: The states of all ranks that the run had; may lack, but for the root,
                those that are equal on all ranks.
            rank: This rank.
            size: Number of ranks now.

        Raises:
            CheckpointError: If a state is missing, or belongs to no object.
        """
        root = states_by_rank[0]
        if len(states_by_rank) == size:
            self.restore({**root, **states_by_rank[rank]})
            return
        combined = {
            name: self._combine[name]([{**root, **one}[name] for one in states_by_rank], rank)
            for name in root
            if name in self._combine
        }
        self.restore({**root, **combined})

    def restore(self, states: Mapping[str, State]) -> None:
        """Restores the state of every object.

        Raises:
            CheckpointError: If a state is missing, or belongs to no object.
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
