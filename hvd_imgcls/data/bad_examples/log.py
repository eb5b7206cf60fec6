"""Which images of a run cannot be read: the log that data threads fill in."""

from __future__ import annotations

import threading

from hvd_imgcls.data.order.splits import Numbers


class BadExampleLog:
    """The bad training images that a rank came across; its data threads fill it in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_epochs: dict[int, int] = {}

    def add(self, examples: Numbers, epoch: int) -> None:
        """Notes example numbers of an epoch, 0-based."""
        with self._lock:
            for example in examples.tolist():
                first = self._first_epochs.get(example, epoch)
                self._first_epochs[example] = min(first, int(epoch))

    def first_epochs(self) -> dict[int, int]:
        """Returns the first epoch, 0-based, of every bad example so far.

        All examples of the batches that the dataset has given out are among them, and some
        of batches to come, which it has prepared.
        """
        with self._lock:
            return dict(self._first_epochs)
