"""How a run ended, in its directory."""

from __future__ import annotations

import datetime
import enum
import os
import socket
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.files.json_files import read_json, write_json
from hvd_imgcls.files.outside import MIB
from hvd_imgcls.run_directory.lock import is_locked
from hvd_imgcls.run_directory.paths import RunDir


class State(enum.Enum):
    """State of a run.

    Attributes:
        RUNNING: A command is writing to its directory.
        FINISHED: Trained and evaluated.
        STOPPED: Stopped by a signal.
        FAILED: Ended by an error.
        KILLED: Ended without a message: killed, or the machine went down.
    """

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How a run ended, or that it goes on.

    Attributes:
        state: The state.
        message: The message of the error or the signal; empty if there is none.
        time: When it was written, ISO 8601.
        host: The host of the process that has written it; empty if unknown.
    """

    state: State
    message: str = ""
    time: str = ""
    host: str = ""

    @property
    def text(self) -> str:
        """The state, with the message if there is one."""
        return f"{self.state.value}: {self.message}" if self.message else self.state.value


def write_status(run_dir: RunDir, state: State, message: str = "") -> None:
    """Writes how a run ended, or that it has begun. Root only.

    Raises:
        OSError: If the file cannot be written.
    """
    status = {
        "state": state.value,
        "message": message,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
    }
    write_json(run_dir.status, status)


def read_status(run_dir: RunDir) -> Status:
    """Returns how a run ended. Runs from before this file existed are finished or killed."""
    written = _read(run_dir)
    try:
        state = State(written["state"])
    except (KeyError, ValueError, TypeError):
        state = State.FINISHED if run_dir.summary.is_file() else State.RUNNING
    if state is State.RUNNING and not is_locked(run_dir.path):
        state = State.KILLED
    texts = {key: written.get(key) for key in ("message", "time", "host")}
    return Status(
        state=state,
        **{key: text for key, text in texts.items() if isinstance(text, str)},
    )


def _read(run_dir: RunDir) -> dict[str, Any]:
    try:
        written = read_json(run_dir.status, MIB)
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}
