"""Ends processes that a signal interrupts or that have failed, and says what they leave behind."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from hvd_imgcls import logs
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import HangError
from hvd_imgcls.failures import process_state
from hvd_imgcls.text.printable import printable_text

logger = logging.getLogger(__name__)

RESUMABLE = 75
"""The exit code of a command that continues if it is given again (`EX_TEMPFAIL`)."""

# When a peer exits, a rank notices within a fraction of a second over Gloo and after about
# one second over MPI; horovodrun sends SIGKILL 5 s after SIGTERM.
GRACE_SECONDS = 3.0

SECONDS_TO_CLEAN_UP = 5.0


def say_interrupted(how: str) -> None:
    """Says on the root that the command ends early and what remains, in the run's log as well.

    Args:
        how: What ended it, a participle.
    """
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    message = f"{how}; {process_state.remains}" if process_state.remains else how
    if logs.is_started():
        logger.warning("%s", message)
    else:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    if process_state.write_end is not None:
        with contextlib.suppress(OSError):
            process_state.write_end(how, False)


def end_by_signal(number: int, is_polled: Callable[[], bool] = lambda: False) -> None:
    """Ends the process, in a thread, because of a signal.

    With several ranks, after a moment, except for SIGINT: the launcher sends SIGTERM to the other
    ranks as soon as one exits. A moment later their pending operations fail, and they exit with
    code 5, the code for a failed peer. If nothing fails within that time, the signal had another
    reason.

    Args:
        number: The signal.
        is_polled: Whether somebody asks for signals, a moment later, and will end the process.
    """

    def end_unless_polled() -> None:
        if not is_polled():
            end()

    def end() -> None:
        say_interrupted(f"stopped by {signal.Signals(number).name}")
        os._exit(RESUMABLE if process_state.is_resumable else 128 + number)

    _, size = launched_rank_and_size()
    if number == signal.SIGINT or size == 1:
        end()
        return
    timer = threading.Timer(GRACE_SECONDS, end_unless_polled)
    timer.daemon = True
    timer.start()


def end_by_hang(error: HangError) -> None:
    """Ends the process, in a thread, because it makes no progress.

    Args:
        error: What took too long.
    """
    rank, size = launched_rank_and_size()
    prefix = f"[rank {rank}/{size}] " if size > 1 else ""
    os.write(2, f"{prefix}error: {printable_text(str(error))}\n".encode())
    # A disk that does not answer may be the reason.
    writer = threading.Thread(target=_write_failure, args=(str(error),), daemon=True)
    writer.start()
    writer.join(SECONDS_TO_CLEAN_UP)
    os._exit(error.exit_code)


def _write_failure(message: str) -> None:
    logs.write_to_files(logging.ERROR, message)
    if process_state.write_end is not None:
        with contextlib.suppress(OSError):
            process_state.write_end(message, True)


def install_sigterm_grace() -> None:
    """Gives a rank that receives SIGTERM time to report that another rank has failed."""
    signal.signal(signal.SIGTERM, lambda number, _: end_by_signal(number))


def leave(exit_code: int) -> NoReturn:
    """Exits the process.

    After an error, Python's own exit may last forever: it waits for the threads of TensorFlow's
    datasets, of which one may wait for a pipe or for an image that takes minutes. What was
    registered to be done at the exit is therefore done with a time limit, and then the process
    ends.

    Args:
        exit_code: The exit code.
    """
    if exit_code == 0:
        sys.exit(0)
    timer = threading.Timer(SECONDS_TO_CLEAN_UP, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    _flush()
    atexit._run_exitfuncs()
    _flush()
    os._exit(exit_code)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Closed, or its reader is gone: there is nobody to tell.
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
