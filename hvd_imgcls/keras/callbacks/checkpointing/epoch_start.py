"""The step function of `fit` at the beginning of an epoch, of which batches may be done already."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


class EpochStart:
    """Takes the place of a model's step function until the first step of an epoch.

    If training is continued within an epoch, `fit` asks for all of its batches. The first ones,
    which are done, are passed over: no data are taken, and no callback is called.

    Args:
        callback_list: The `CallbackList` of `fit`.
        num_calls: How many calls of the step function are passed over.
        arrive: Called once with the iterator of the data, before anything else; returns the logs
            of the calls that are passed over.
    """

    def __init__(
        self, callback_list: Any, num_calls: int, arrive: Callable[[Any], dict[str, Any]]
    ) -> None:
        # Weak: the end of `fit` by an exception is noticed by the end of this object.
        self._callback_list = weakref.ref(callback_list)
        self._model = callback_list.model
        self._num_left = num_calls
        self._arrive: Callable[[Any], dict[str, Any]] | None = arrive
        self._logs: dict[str, Any] = {}
        self.remove(self._model)
        self._plain_function = self._model.train_function
        self._model.train_function = self
        if num_calls:
            callback_list.on_train_batch_begin = _ignore
            callback_list.on_train_batch_end = self._end_call

    @classmethod
    def remove(cls, model: Any) -> None:
        """Gives a model its own step function back."""
        while isinstance(model.train_function, cls):
            model.train_function = model.train_function._plain_function

    def __call__(self, iterator: Any) -> dict[str, Any]:
        """Passes over a call, or takes the first step. Collective."""
        if self._arrive is not None:
            arrive, self._arrive = self._arrive, None
            self._logs = arrive(iterator)
        if self._num_left:
            return self._logs
        self.remove(self._model)
        logs: dict[str, Any] = self._plain_function(iterator)
        return logs

    def _end_call(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del batch, logs
        self._num_left -= 1
        callback_list = self._callback_list()
        if not self._num_left and callback_list is not None:
            del callback_list.on_train_batch_begin, callback_list.on_train_batch_end


def _ignore(batch: int, logs: dict[str, Any] | None = None) -> None:
    """Takes the place of a hook while batches are passed over."""
