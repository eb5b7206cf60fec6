"""Runs pip and compilers: output to a log, progress to the user, errors as one message."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hvd_imgcls.errors import SetupError

Say = Callable[[str], None]
# Turns the output of a failed command into an error, or None if it does not know the failure.
Explain = Callable[[str], SetupError | None]

# Lines of a failed command's log that are shown.
_TAIL_LINES = 15

_NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution"
    r"|Network is unreachable|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|Connection refused|Max retries exceeded|\(from versions: none\)"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_PERCENT = re.compile(r"^\[ *(\d+)%\]", re.MULTILINE)


SAY_EVERY_SECONDS = 10.0
"""Time between two progress lines."""


def run_logged(
    command: Sequence[str],
    *,
    what: str,
    log_path: Path,
    say: Say,
    environment: Mapping[str, str] | None = None,
    working_dir: Path | None = None,
    explain: Explain | None = None,
) -> None:
    """Runs a command with its output in a log file, and reports its progress.

    Args:
        command: Program and arguments.
        what: What it does, for messages, e.g. `compiling Horovod`.
        log_path: File that the output is appended to.
        say: Prints a line.
        environment: Environment of the command. This process's when None.
        working_dir: Directory to run it in. The current one when None.
        explain: Looks for the reason of a failure in the output, after the full disk and the
            missing network.

    Raises:
        SetupError: If it fails, with the reason if it is known, else with the end of the log.
    """
    start = time.monotonic()
    begin = log_path.stat().st_size if log_path.exists() else 0
    with log_path.open("ab") as log:
        # A session of its own, so that an interrupt also ends the compilers.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=working_dir,
            start_new_session=True,
        )
        try:
            next_line_at = SAY_EVERY_SECONDS
            while _still_runs(process):
                elapsed = time.monotonic() - start
                if elapsed >= next_line_at:
                    say(f"  {what}: {elapsed:.0f} s{_percent(log_path, begin)}")
                    next_line_at = elapsed + SAY_EVERY_SECONDS
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        text = _read_from(log_path, begin)
        known = _known_failure(what, text, log_path) or (explain and explain(text))
        raise known or _unknown_failure(what, process.returncode, text, log_path)


def require_free_space(path: Path, needed_bytes: int, what_for: str) -> None:
    """Raises a SetupError unless the file system of `path` has room for `needed_bytes`."""
    free = shutil.disk_usage(path).free
    if free < needed_bytes:
        raise SetupError(
            f"{path} has {free / 1e9:.1f} GB free, {what_for} needs {needed_bytes / 1e9:.1f} GB",
            fix=f"free some space, or set XDG_CACHE_HOME or TMPDIR to another disk (df -h {path})",
        )


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return True
    return False


def _percent(log_path: Path, begin: int) -> str:
    found = _PERCENT.findall(_read_from(log_path, begin))
    return f", {found[-1]} %" if found else ""


def _read_from(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", errors="replace")


def _known_failure(what: str, text: str, log_path: Path) -> SetupError | None:
    if _DISK_FULL.search(text):
        return SetupError(
            f"{what} failed: the disk is full",
            fix="free some space (df -h shows where), then run the same command again",
        )
    if _NO_NETWORK.search(text):
        return SetupError(
            f"{what} failed: pip cannot reach its package index, or the index does not have "
            "the package",
            fix=f"check the network and pip's settings (pip config list), then run the same "
            f"command again; pip's output is in {log_path}",
        )
    return None


def _unknown_failure(what: str, exit_code: int, text: str, log_path: Path) -> SetupError:
    tail = "\n".join("    " + line for line in text.splitlines()[-_TAIL_LINES:])
    return SetupError(
        f"{what} failed with exit code {exit_code}; the end of {log_path}:\n{tail}",
        fix="correct what the log names, then run the same command again",
    )
