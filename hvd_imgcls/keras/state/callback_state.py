"""The state of any callback: from its own methods, or its plain attributes."""

from __future__ import annotations

import copy
from typing import Any

import keras
import numpy as np

# Attributes set by Keras that are not state: `fit` sets them again.
_LEFT_OUT = {"model", "params", "_model", "_params", "validation_data"}


class CallbackState:
    """The state of one callback, Keras's or a user's.

    If a callback has methods `state` and `restore`, they are used. Otherwise its state consists of
    the attributes that are plain values, arrays, or lists, tuples and dictionaries of these:
    `EarlyStopping.best_weights`, `ReduceLROnPlateau.wait`. Open files, models and functions are
    excluded: `on_train_begin` creates them.

    Args:
        callback: The callback.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback

    def state(self) -> dict[str, Any]:
        """Returns a copy of the state."""
        callback: Any = self._callback
        name = type(callback).__name__
        if has_own_state(callback):
            return {"class": name, "state": callback.state()}
        attributes = {
            key: _to_state(value)
            for key, value in vars(callback).items()
            if key not in _LEFT_OUT | _undecided(callback) and _is_plain(value)
        }
        return {"class": name, "state": attributes}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`, after `on_train_begin`."""
        callback: Any = self._callback
        if has_own_state(callback):
            callback.restore(state["state"])
            return
        for key, value in state["state"].items():
            setattr(callback, key, _from_state(value))


def has_own_state(callback: Any) -> bool:
    """Returns whether a callback defines its own state."""
    return callable(getattr(callback, "state", None)) and callable(
        getattr(callback, "restore", None)
    )


def _undecided(callback: Any) -> set[str]:
    """Returns the attributes that Keras sets anew in every training.

    It finds the direction of a monitored metric at the end of the first epoch of a callback, and
    changes the sign of `min_delta` then. A restored callback does so again, so that it must have
    the sign of the start. `CSVLogger` looks in `on_train_begin` whether its file has a header.
    """
    if isinstance(callback, keras.callbacks.CSVLogger):
        return {"append_header"}
    return {"min_delta"} if "monitor_op" in vars(callback) else set()


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _to_state(value: Any) -> Any:
    """Returns a copy; tuples, which JSON does not support, are marked."""
    if isinstance(value, tuple):
        return {"tuple": [_to_state(item) for item in value]}
    if isinstance(value, list):
        return [_to_state(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _to_state(item) for key, item in value.items()}}
    return value.item() if isinstance(value, np.generic) else copy.copy(value)


def _from_state(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_state(item) for item in value]
    if not isinstance(value, dict):
        return copy.copy(value)
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_from_state(item) for item in content)
    return {key: _from_state(item) for key, item in content.items()}
