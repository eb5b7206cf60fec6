"""The signals that ask a process to stop: received at once, wherever the process waits."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""The signals that ask for a stop: of launchers and schedulers, Ctrl-C, Slurm's warning, a terminal
that is closed."""

_END = 0


class StopRequest:
    """The first signal that asked this process to stop.

    Python runs its signal handlers only between two of its instructions: never while an operation
    of TensorFlow waits. The numbers of signals are therefore read from a pipe, by a thread.

    Args:
        end: Called by the thread, with the number of the signal, if nobody polls or after a
            second SIGINT: ends the process. Its second argument tells whether somebody polls by
            now, in case it waits for a moment.
    """

    def __init__(self, end: Callable[[int, Callable[[], bool]], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._signal = 0
        self._is_polled = False

    @property
    def signal(self) -> int:
        """The number of the first signal; 0 if there was none."""
        return self._signal

    @contextlib.contextmanager
    def polled(self) -> Iterator[None]:
        """Context manager in which the process regularly asks for `signal`, and ends by itself."""
        self._set_polled(True)
        yield
        # Not after an exception: the process ends already.
        self._set_polled(False)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Context manager that receives the signals; then their handlers are as before.

        Signals that the process ignores, as after `nohup`, stay ignored. Does nothing outside the
        main thread, which Python requires for signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        receiver, sender = os.pipe()
        os.set_blocking(sender, False)
        thread = threading.Thread(target=self._listen, args=(receiver,), daemon=True)
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: how for number, how in before.items() if how is not signal.SIG_IGN}
        previous = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        for number in before:
            signal.signal(number, _leave_to_the_thread)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(sender, bytes([_END]))
            thread.join()
            os.close(sender)
            os.close(receiver)

    def _set_polled(self, is_polled: bool) -> None:
        with self._lock:
            self._is_polled = is_polled
            received = self._signal
        if received and not is_polled:
            self._end(received, self._polls_now)

    def _polls_now(self) -> bool:
        return self._is_polled

    def _listen(self, receiver: int) -> None:
        while True:
            for number in os.read(receiver, 64):
                if number == _END:
                    return
                self._receive(number)

    def _receive(self, number: int) -> None:
        if number not in SIGNALS:
            return
        with self._lock:
            is_second = number == signal.SIGINT == self._signal
            self._signal = self._signal or number
            must_end = is_second or not self._is_polled
        if must_end:
            self._end(number, self._polls_now)


def _leave_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Handles a signal by doing nothing: Python writes its number to the pipe."""
