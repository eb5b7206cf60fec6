"""The launcher's end of one rank: starts its keeper, here or over ssh, and stays in touch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hvd_imgcls.launcher.hosts import Slot
from hvd_imgcls.launcher.output import Output
from hvd_imgcls.launcher.ssh import SSH_FAILED, Ssh, keeper_words

# A keeper on another host ends its rank if it hears nothing for so long: the connection is cut.
SILENCE_SECONDS = 60.0
SIGN_OF_LIFE_SECONDS = 5.0
_FROZEN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RankCommand:
    """What every rank runs.

    Attributes:
        words: The command.
        directory: Working directory, which must exist on every host.
        environment: Variables for all ranks, on top of those of the launcher.
        environment_elsewhere: Variables for ranks on other hosts, which inherit nothing.
        input: Text for the standard input of every rank, None for none.
    """

    words: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    environment_elsewhere: Mapping[str, str]
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a rank ended.

    Attributes:
        exit_code: Of the rank, 128 plus its number for a signal.
        time: When, in seconds of `time.monotonic()`.
        is_lost: Whether its host can no longer be reached.
    """

    exit_code: int
    time: float
    is_lost: bool = False


class RankProcess:
    """One rank.

    Args:
        command: What it runs.
        slot: Its place.
        ssh: How its host is reached; None if it is this one.
        output: Where its output goes.
    """

    def __init__(self, command: RankCommand, slot: Slot, ssh: Ssh | None, output: Output) -> None:
        self.slot = slot
        self._is_given_up = False
        self._lock = threading.Lock()
        words = keeper_words()
        self._process = subprocess.Popen(
            words if ssh is None else ssh.command(slot.host, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._ssh = ssh
        self._say(_task(command, slot, is_elsewhere=ssh is not None))
        self._copies = [
            threading.Thread(target=output.copy, args=(stream.fileno(), slot.rank, name))
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
            if stream is not None
        ]
        for copy in self._copies:
            copy.daemon = True
            copy.start()
        if ssh is not None:
            threading.Thread(target=self._show_life, daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """Asks the rank to end by itself; it is killed after some seconds."""
        self._say({"end": seconds})
        # A keeper that has not ended its rank long after is frozen itself; its rank ends with it.
        kill = threading.Timer(seconds + _FROZEN_SECONDS, self._give_up)
        kill.daemon = True
        kill.start()

    def wait(self) -> Ending:
        """Waits until the rank has ended and everything that it wrote is printed."""
        exit_code = self._process.wait()
        moment = time.monotonic()
        for copy in self._copies:
            copy.join(_FROZEN_SECONDS if self._is_given_up else None)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        is_lost = self._ssh is not None and exit_code == SSH_FAILED
        exit_code = 128 - exit_code if exit_code < 0 else exit_code
        return Ending(exit_code, moment, is_lost=is_lost)

    def _give_up(self) -> None:
        if self._process.poll() is None:
            self._is_given_up = True
            self._process.kill()

    def _show_life(self) -> None:
        while self._process.poll() is None:
            self._say({})
            time.sleep(SIGN_OF_LIFE_SECONDS)

    def _say(self, message: Mapping[str, object]) -> None:
        # The rank may have ended; its exit code says so.
        with contextlib.suppress(OSError, ValueError), self._lock:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]


def _task(command: RankCommand, slot: Slot, *, is_elsewhere: bool) -> dict[str, object]:
    more = command.environment_elsewhere if is_elsewhere else {}
    return {
        "command": list(command.words),
        "directory": command.directory,
        # Otherwise, Python would keep lines back in a pipe.
        "environment": {
            **more,
            "PYTHONUNBUFFERED": "1",
            **command.environment,
            **slot.environment(),
        },
        "silence": SILENCE_SECONDS if is_elsewhere else None,
        "input": command.input,
    }


def working_directory() -> str:
    """Returns the directory of this process as the user sees it, not as links resolve."""
    logical, real = os.environ.get("PWD", ""), os.getcwd()
    with contextlib.suppress(OSError):
        if os.path.isabs(logical) and os.path.samefile(logical, real):
            return logical
    return real
