"""Signals to the launcher, and the order to all ranks to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class StopOrder:
    """Tells everybody who has subscribed to end, and how many seconds there are for it.

    Args:
        grace: Seconds in which ranks may save their state after a signal.
        parent: Every order of it is passed on, until `detach`.

    Attributes:
        grace: As given.
    """

    def __init__(self, grace: float, parent: StopOrder | None = None) -> None:
        self.grace = grace
        self._parent = parent
        self._signal_number: int | None = None
        self._seconds: float | None = None
        self._subscribers: list[Callable[[float], None]] = []
        self._lock = threading.RLock()
        self._signals: list[int] = []
        self._wake = threading.Event()
        self._given = threading.Event()
        if parent is not None:
            parent.subscribe(self.give)

    @property
    def signal_number(self) -> int | None:
        """The first signal, None if there was none."""
        parent = self._parent
        return self._signal_number if parent is None else parent.signal_number

    def detach(self) -> None:
        """Does not pass on orders of the parent any more."""
        if self._parent is not None:
            self._parent.unsubscribe(self.give)

    def listen(self) -> None:
        """Handles signals from now on; those that are ignored, as after nohup, stay ignored."""
        threading.Thread(target=self._pass_on, daemon=True).start()
        for number in _HANDLED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def subscribe(self, subscriber: Callable[[float], None]) -> None:
        """Calls a function with the seconds at every order, also at one that was before."""
        with self._lock:
            self._subscribers.append(subscriber)
            if self._seconds is not None:
                subscriber(self._seconds)

    def unsubscribe(self, subscriber: Callable[[float], None]) -> None:
        """Does not call a function any more."""
        with self._lock:
            self._subscribers.remove(subscriber)

    def give(self, seconds: float) -> None:
        """Orders to end within some seconds; a later order can only shorten the time."""
        with self._lock:
            if self._seconds is not None and seconds >= self._seconds:
                return
            self._seconds = seconds
            self._given.set()
            for subscriber in self._subscribers:
                subscriber(seconds)

    @property
    def is_given(self) -> bool:
        """Whether there was an order."""
        return self._given.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits for an order and returns whether there was one within some seconds."""
        return self._given.wait(seconds)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Runs between two instructions of the main thread, which may hold any lock.
        self._signals.append(number)
        self._wake.set()

    def _pass_on(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._signals:
                number = self._signals.pop(0)
                is_second = self._signal_number == number == signal.SIGINT
                self._signal_number = self._signal_number or number
                self.give(0 if is_second else self.grace)
