"""What has to wait until a model that is built by its first batch has variables.

A model without a declared input shape gets its variables while the first step is being
traced. Then, before anything runs, the optimizer calls `run()`.
"""

from __future__ import annotations

from collections.abc import Callable

_waiting: list[Callable[[], None]] = []


def wait(action: Callable[[], None]) -> None:
    """Has `action` called before the first update."""
    _waiting.append(action)


def run() -> None:
    """Calls what is waiting, each once, eagerly."""
    while _waiting:
        _waiting.pop(0)()


def cancel(action: Callable[[], None]) -> bool:
    """Forgets `action`. Returns whether it was still waiting."""
    if action not in _waiting:
        return False
    _waiting.remove(action)
    return True
