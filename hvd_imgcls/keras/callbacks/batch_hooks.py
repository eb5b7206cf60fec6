"""Classifies the batch hooks of callbacks, to avoid unnecessary communication per batch."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import keras

_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}

# Hooks of Keras that only write.
_WRITING = {
    keras.callbacks.BackupAndRestore.on_train_batch_end,
    keras.callbacks.ModelCheckpoint.on_train_batch_end,
    keras.callbacks.TensorBoard.on_train_batch_begin,
    keras.callbacks.TensorBoard.on_train_batch_end,
    keras.callbacks.ProgbarLogger.on_train_batch_end,
}
# Hooks of Keras that decide, but do not change weights.
_DECIDING = {keras.callbacks.TerminateOnNaN.on_batch_end}


class BatchHook(enum.IntEnum):
    """What the hook of one callback, or the union over several callbacks, may do."""

    NONE = 0
    WRITES = 1
    DECIDES = 2
    DECIDES_AND_MAY_CHANGE_WEIGHTS = 3


def kind_of(
    hook: str, callbacks: Iterable[keras.callbacks.Callback], *, watches_weights: bool
) -> BatchHook:
    """Returns what a hook may do.

    Args:
        hook: `on_train_batch_begin` or `on_train_batch_end`.
        callbacks: The callbacks.
        watches_weights: Whether hooks other than Keras's own may change weights.
    """
    kinds = [
        _kind_of_function(function, callback, watches_weights=watches_weights)
        for callback in callbacks
        for name in (hook, _ALIASES[hook])
        if (function := _own_function(callback, name)) is not None
    ]
    return max(kinds, default=BatchHook.NONE)


def overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Returns whether a callback overrides a hook."""
    names = (hook, _ALIASES[hook]) if hook in _ALIASES else (hook,)
    return any(_own_function(callback, name) is not None for name in names)


def _own_function(callback: keras.callbacks.Callback, name: str) -> Any:
    """Returns the function behind a hook, None if it is the base implementation."""
    method = getattr(callback, name)
    function = getattr(method, "__func__", method)
    return None if function is getattr(keras.callbacks.Callback, name) else function


def _kind_of_function(
    function: Any, callback: keras.callbacks.Callback, *, watches_weights: bool
) -> BatchHook:
    if function in _WRITING:
        judges = getattr(callback, "save_best_only", False)
        if judges and getattr(callback, "save_freq", "epoch") != "epoch":
            return BatchHook.DECIDES  # based on the metrics of a batch, which must be global
        return BatchHook.WRITES
    if function in _DECIDING or not watches_weights:
        return BatchHook.DECIDES
    return BatchHook.DECIDES_AND_MAY_CHANGE_WEIGHTS
