"""A task of `srun`: asks the launcher which rank it is, runs it, and says how it ended.

`srun` starts this file with Python. Standard library only, because it runs before anything of the
environment is known to work on this node. It exits with 0 once the launcher knows how the rank
ended: `srun` ends all tasks at once if one exits with another code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

# Scopes of the rendezvous server. A task that has started receives signals without being killed.
STARTED, SLOTS, ENDINGS, ORDERS = "started", "slots", "endings", "orders"
END = "end"
NOT_STARTED = 126
WRONG_PLACE = 2
CONNECT_SECONDS = 20.0
_REQUEST_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class Launcher:
    """The rendezvous server of the launcher.

    Args:
        environment: Variables with its address and the secret of the job.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
        self.place = f"{address}:{environment['HOROVOD_GLOO_RENDEZVOUS_PORT']}"
        self._headers = {"X-Horovod-Secret": environment["HOROVOD_RENDEZVOUS_SECRET"]}
        # It is never behind a proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, scope: str, key: str) -> Any:
        """Returns a value, None if there is none.

        Raises:
            OSError: If the launcher does not answer.
        """
        try:
            return json.loads(self._request(scope, key))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def put(self, scope: str, key: str, value: Any) -> None:
        """Stores a value.

        Raises:
            OSError: If the launcher does not answer.
        """
        self._request(scope, key, json.dumps(value).encode())

    def _request(self, scope: str, key: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"http://{self.place}/{scope}/{key}",
            data=data,
            method="GET" if data is None else "PUT",
            headers=self._headers,
        )
        with self._opener.open(request, timeout=_REQUEST_SECONDS) as answer:
            content: bytes = answer.read()
            return content


class Task:
    """A task and its rank.

    Args:
        launcher: The launcher.
        environment: The variables of the task.
    """

    def __init__(self, launcher: Launcher, environment: Mapping[str, str]) -> None:
        self._launcher = launcher
        self._environment = environment
        self._rank = environment["SLURM_PROCID"]
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = threading.Event()
        self._signalled = threading.Event()

    def run(self, words: Sequence[str]) -> int:
        """Runs the rank; returns the exit code of the task."""
        threading.Thread(target=self._obey, daemon=True).start()
        for number in _SIGNALS:
            signal.signal(number, self._note)
        try:
            slot, is_late = self._begin()
        except OSError as error:
            node = self._environment.get("SLURMD_NODENAME", "")
            place = self._launcher.place
            sys.stderr.write(f"error: {node} cannot reach the launcher at {place} ({error})\n")
            return NOT_STARTED
        problem = problem_of(slot, self._environment)
        if problem:
            return self._report(WRONG_PLACE, problem)
        if is_late:
            return self._report(128 + signal.SIGTERM)
        try:
            self._process = subprocess.Popen(
                words,
                env={**self._environment, **slot},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only libc is called
            )
        except OSError as error:
            where = f"on {slot['HOROVOD_HOSTNAME']}"
            return self._report(NOT_STARTED, f"{error.filename}: {error.strerror}, {where}")
        exit_code = self._process.wait()
        if exit_code != 0 or self._asked.is_set():
            self._kill()  # what the rank has started holds the pipes of srun open
        if self._asked.is_set() and exit_code == -signal.SIGUSR1:
            # The launcher's order reaches the tasks as SIGUSR1.
            exit_code = -signal.SIGTERM
        return self._report(128 - exit_code if exit_code < 0 else exit_code)

    def _begin(self) -> tuple[dict[str, str], bool]:
        """Returns the variables of the rank's place, and whether it is to end before it starts."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._launcher.put(STARTED, self._rank, value=True)
                slot = self._launcher.get(SLOTS, self._rank) or {}
                return slot, self._launcher.get(ORDERS, END) is not None
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _report(self, exit_code: int, problem: str = "") -> int:
        try:
            self._launcher.put(ENDINGS, self._rank, {"exit_code": exit_code, "problem": problem})
        except OSError:
            return exit_code  # the launcher is gone, and this is all that Slurm learns
        return 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Slurm sends signals to all processes of a task, the rank included.
        self._signalled.set()

    def _obey(self) -> None:
        """Kills the rank in time if the launcher says so."""
        while True:
            self._signalled.wait()
            self._signalled.clear()
            try:
                seconds = self._launcher.get(ORDERS, END)
            except OSError:
                continue
            if seconds is not None:
                self._asked.set()
                kill = threading.Timer(float(seconds), self._kill)
                kill.daemon = True
                kill.start()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def problem_of(slot: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Returns how the place of a task differs from the launcher's plan; '' if it does not."""
    rank = environment["SLURM_PROCID"]
    if not slot:
        return f"Slurm has started a task {rank}, which the launcher did not ask for"
    wanted = (slot["HOROVOD_HOSTNAME"], slot["HOROVOD_LOCAL_RANK"], slot["HOROVOD_SIZE"])
    names = ("SLURMD_NODENAME", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")
    found = tuple(environment.get(name, "") for name in names)
    if wanted == found:
        return ""
    text = "task {} on {} as number {} of {} tasks"
    return (
        f"Slurm has started {text.format(rank, found[0], found[1], found[2])}, the plan was "
        f"{text.format(rank, wanted[0], wanted[1], wanted[2])}; change no SLURM_* variables in the "
        "script of the job"
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(words: Sequence[str]) -> int:
    """Runs the rank of this task; returns the exit code of the process."""
    environment = dict(os.environ)
    return Task(Launcher(environment), environment).run(words)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
