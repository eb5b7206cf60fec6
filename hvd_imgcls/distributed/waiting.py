"""Notes whether a process is within an operation that waits for other ranks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Operations:
    """Base of classes with operations that wait for other ranks."""

    def __init__(self) -> None:
        # Appending and removing are atomic: operations may run in several threads.
        self._running: list[None] = []

    @property
    def is_waiting(self) -> bool:
        """Whether this process is within an operation now, other than in a graph."""
        return bool(self._running)


def waiting(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method of `Operations` during which the process is waiting.

    Within a graph that is being traced, nothing waits.

    Args:
        operation: The method.
    """

    @functools.wraps(operation)
    def noted(self: Operations, *arguments: Any, **keywords: Any) -> Any:
        if not tf.executing_eagerly():
            return operation(self, *arguments, **keywords)
        self._running.append(None)
        try:
            return operation(self, *arguments, **keywords)
        finally:
            self._running.pop()

    return noted
