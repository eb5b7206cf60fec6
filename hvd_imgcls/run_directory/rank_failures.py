"""The errors with which the ranks of a run ended, one file per rank."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import socket
import time
import traceback

from hvd_imgcls.errors import HvdImgclsError, PeerFailedError, RootFailedError
from hvd_imgcls.files.outside import MIB, read_text
from hvd_imgcls.run_directory.paths import RunDir

_SECONDS_FOR_OTHERS = 2.0
_CONSEQUENCES = (PeerFailedError, RootFailedError)


def forget_failures(files: RunDir) -> None:
    """Removes the files of an earlier launch. Root only."""
    for directory in (files.failures, files.hang):
        shutil.rmtree(directory, ignore_errors=True)


def write_failure(files: RunDir, rank: int, message: str, error: BaseException | None) -> None:
    """Writes the error with which a rank ends, unless it is a consequence of another rank's.

    Args:
        files: The run directory.
        rank: The rank.
        message: The message, with the position in the run.
        error: The exception, if there is one.
    """
    if isinstance(error, _CONSEQUENCES):
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    lines = [message, "", f"rank {rank} on {socket.gethostname()}, {now}"]
    if error is not None and not isinstance(error, HvdImgclsError):
        lines += ["", "".join(traceback.format_exception(error))]
    # A directory that cannot be written to does not hide the error.
    with contextlib.suppress(OSError):
        files.failures.mkdir(exist_ok=True)
        (files.failures / f"rank-{rank}.txt").write_text("\n".join(lines), encoding="utf-8")


def failure_of_another_rank(files: RunDir) -> str:
    """Returns the rank and the message of the rank that failed first; empty if there is none.

    Waits for a moment: that rank writes while this one sees its connection close.

    Args:
        files: The run directory.
    """
    deadline = time.monotonic() + _SECONDS_FOR_OTHERS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = sorted(files.failures.glob("rank-*.txt"), key=lambda one: one.stat().st_mtime)
            if found:
                first = read_text(found[0], MIB).partition("\n")[0]
                return f"{found[0].stem.replace('-', ' ')}: {first}"
        time.sleep(0.1)
    return ""
