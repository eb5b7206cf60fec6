"""Log of the bad examples of a run, filled by the data threads."""

from __future__ import annotations

import threading
from typing import Any

from hvd_imgcls.data.order.splits import Numbers


class BadExampleLog:
    """The bad training images that a rank has encountered. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_epochs: dict[int, int] = {}

    def add(self, examples: Numbers, epoch: int) -> None:
        """Records example numbers of an epoch, 0-based."""
        with self._lock:
            for example in examples.tolist():
                first = self._first_epochs.get(example, epoch)
                self._first_epochs[example] = min(first, int(epoch))

    def state(self) -> dict[str, Any]:
        """Returns example numbers and first epochs."""
        known = self.first_epochs()
        return {"examples": list(known), "first_epochs": list(known.values())}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        with self._lock:
            self._first_epochs = dict(zip(state["examples"], state["first_epochs"], strict=True))

    def first_epochs(self) -> dict[int, int]:
        """Returns the first epoch, 0-based, of every bad example so far.

        Covers all batches that the dataset has yielded, and some later ones that it has
        prefetched.
        """
        with self._lock:
            return dict(self._first_epochs)
