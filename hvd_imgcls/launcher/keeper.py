"""Runs one rank on its host, and ends it when the launcher says so or is gone.

The launcher starts this file with Python, on other hosts over ssh, and writes one JSON object per
line to its standard input: the task first, then signs of life and orders. So neither the
environment nor the secret of a job is ever on a command line. Standard library only, because this
file runs before anything of the environment is known to work.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

# Time for a rank to end by itself after the launcher or the connection to it has gone.
GRACE_SECONDS = 5.0
NOT_STARTED = 126
# The exit code of ssh for its own errors, which a rank therefore cannot have.
SSH_FAILED = 255
_PR_SET_PDEATHSIG = 1


class Lines:
    """The lines of the standard input."""

    def __init__(self) -> None:
        self._rest = b""

    def next(self, silence: float | None = None) -> bytes | None:
        """Returns the next line; None if the input has ended or is silent for too long."""
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            if not select.select([0], [], [], silence)[0]:
                return None
            pieces.append(os.read(0, 65536))
            if not pieces[-1]:
                return None
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line


class Keeper:
    """The process of a rank, and until when it may run.

    Args:
        task: `command` (list of words), `directory`, `environment` (variables to add), `silence`
            (seconds without a line from the launcher after which the rank is ended, or None),
            `input` (text for the standard input of the rank, or None).
        lines: What the launcher says after the task.
    """

    def __init__(self, task: dict[str, Any], lines: Lines) -> None:
        self._lines = lines
        self._silence: float | None = task["silence"]
        self._is_asked = False
        text = task["input"]
        self.process = subprocess.Popen(
            task["command"],
            cwd=task["directory"],
            env={**os.environ, **task["environment"]},
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads yet
        )
        if text is not None and self.process.stdin is not None:
            threading.Thread(target=self._feed, args=(text,), daemon=True).start()

    def run(self) -> int:
        """Waits for the rank and returns its exit code, 128 plus its number for a signal."""
        threading.Thread(target=self._obey, daemon=True).start()
        exit_code = self.process.wait()
        if exit_code != 0 or self._is_asked:
            self.kill_group()  # what the rank has started holds the launcher's pipes open
        exit_code = 128 - exit_code if exit_code < 0 else exit_code
        return 254 if exit_code == SSH_FAILED else exit_code

    def kill_group(self) -> None:
        """Kills the rank and everything that it has started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end_within(self, seconds: float) -> None:
        """Asks the rank to end, the first time; kills it after some seconds, never later."""
        is_first, self._is_asked = not self._is_asked, True
        if seconds == 0:
            self.kill_group()
            return
        if is_first:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
        kill = threading.Timer(seconds, self.kill_group)
        kill.daemon = True
        kill.start()

    def _feed(self, text: str) -> None:
        try:
            self.process.stdin.write(text.encode())  # type: ignore[union-attr]
            self.process.stdin.close()  # type: ignore[union-attr]
        except OSError:
            pass  # the rank has ended; its exit code says so

    def _obey(self) -> None:
        while (line := self._lines.next(self._silence)) is not None:
            try:
                order = json.loads(line)
            except ValueError:
                continue
            if "end" in order:
                self.end_within(float(order["end"]))
        self.end_within(GRACE_SECONDS)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Runs the rank of the task on the standard input."""
    # The launcher ends this process by closing its standard input. Ctrl-C and the end of the
    # terminal are the launcher's to handle. Not ignored: the rank would inherit that.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    lines = Lines()
    first = lines.next()
    if first is None:
        return NOT_STARTED  # the launcher ended before it could say what to do
    try:
        keeper = Keeper(json.loads(first), lines)
    except OSError as error:
        host = socket.gethostname()
        sys.stderr.write(f"error: {error.filename}: {error.strerror}, on {host}\n")
        return NOT_STARTED
    signal.signal(signal.SIGTERM, lambda *_: keeper.end_within(GRACE_SECONDS))
    return keeper.run()


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0)
    # Threads that wait for the launcher must not hold the process.
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)
