"""Reads what a run does, or how it ended, from the files in its directory."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.entry import Entry
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError, ConfigError, first_line
from hvd_imgcls.files.json_files import parse_json, read_json
from hvd_imgcls.files.outside import MIB, open_regular, read_bounded
from hvd_imgcls.run_directory.lock import is_locked
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import Status, read_status
from hvd_imgcls.workflows.watch.values import Values

_MAX_BYTES = 16 * MIB
_TAIL_BYTES = MIB // 4
_READ_ERRORS = (OSError, ValueError, CheckpointError)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """What the files of a run say at one moment. A missing or damaged file counts as empty.

    Attributes:
        path: The run directory.
        status: Whether the run goes on, or how it ended.
        is_locked: Whether a process is seen to hold the lock of the directory.
        plan: `plan.json`.
        launch: The last line of `launches.jsonl`.
        progress: `progress.json`.
        last_epoch: The last line of `metrics.jsonl`.
        summary: `summary.json`.
        checkpoint: The newest checkpoint whose manifest can be read, or None.
        seconds_since_change: Time since a file last changed, by the clock of this machine; None
            if no file can be seen.
        problems: Files that cannot be read, with the reason.
    """

    path: Path
    status: Status
    is_locked: bool
    plan: Values
    launch: Values
    progress: Values
    last_epoch: Values
    summary: Values
    checkpoint: Entry | None
    seconds_since_change: float | None
    problems: list[str] = field(default_factory=list)


def read_view(path: Path) -> RunView:
    """Reads the files of a run, of any age and in any state. Waits for nothing.

    Args:
        path: The run directory.

    Raises:
        ConfigError: If it is not one.
    """
    files, problems = RunDir(path), _Problems()
    locked = is_locked(path)
    if not locked and not any(
        _exists(file) for file in (files.config, files.status, files.launches, files.metrics)
    ):
        raise ConfigError(
            "RUN",
            got=str(path),
            expected="a run directory, with files such as config.yaml and status.json",
            fix="pass the directory that hvd-imgcls train writes; `hvd-imgcls runs` lists them",
        )
    return RunView(
        path=path,
        status=read_status(files),
        is_locked=locked,
        plan=problems.guard(files.plan, _object),
        launch=problems.guard(files.launches, _last_line),
        progress=problems.guard(files.progress, _object),
        last_epoch=problems.guard(files.metrics, _last_line),
        summary=problems.guard(files.summary, _object),
        checkpoint=problems.newest_checkpoint(files.checkpoints),
        seconds_since_change=_seconds_since_change(files),
        problems=problems.lines,
    )


class _Problems:
    """Collects the files that cannot be read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def guard(self, path: Path, read: Callable[[Path], Values]) -> Values:
        """Returns what a file contains; nothing if it does not exist or cannot be read."""
        if not _exists(path):
            return Values()
        try:
            return read(path)
        except FileNotFoundError as error:
            # It was replaced or removed just now, unless it is a broken link.
            if path.is_symlink():
                self._add(path, error)
        except _READ_ERRORS as error:
            self._add(path, error)
        return Values()

    def newest_checkpoint(self, path: Path) -> Entry | None:
        """Returns the newest checkpoint whose manifest can be read."""
        if not _exists(path):
            return None
        try:
            entries = CheckpointStore(path).entries()
        except _READ_ERRORS as error:
            self._add(path, error)
            return None
        sound = [entry for entry in entries if entry.problem is None]
        if entries and not sound:
            self.lines.append(f"{path.name}: {entries[-1].problem}")
        return sound[-1] if sound else None

    def _add(self, path: Path, error: Exception) -> None:
        self.lines.append(f"{path.name}: {first_line(error)}")


def _object(path: Path) -> Values:
    return _as_object(read_json(path, _MAX_BYTES))


def _last_line(path: Path) -> Values:
    """Returns the last complete line of a file of JSON lines."""
    with open_regular(path) as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(0, length - _TAIL_BYTES))
        content = read_bounded(file, path, _MAX_BYTES)
    # What follows the last line break may be half a line of a process that was killed.
    lines = [line for line in content.split(b"\n")[:-1] if line.strip()]
    return _as_object(parse_json(lines[-1])) if lines else Values()


def _as_object(content: Any) -> Values:
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__}, not an object")
    return Values(content)


def _seconds_since_change(files: RunDir) -> float | None:
    """Returns the time since the newest change of a file that a run writes."""
    times = []
    for path in (
        files.status,
        files.progress,
        files.metrics,
        files.nodes,
        files.log,
        files.launches,
        files.checkpoints,
        files.summary,
        files.report,
    ):
        with contextlib.suppress(OSError, ValueError):
            times.append(os.stat(path).st_mtime)
    return max(0.0, time.time() - max(times)) if times else None


def seconds_since(moment: str | datetime.datetime | None) -> float | None:
    """Returns the time since a moment, ISO 8601, by the clock of this machine; None if unknown."""
    try:
        then = datetime.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if then is None:
            return None
        return max(0.0, (datetime.datetime.now(datetime.UTC) - then).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False
