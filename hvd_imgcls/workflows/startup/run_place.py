"""Chooses the directory of a run: that of an unfinished run, or a new one.

Importing this does not import TensorFlow, so that configuration errors are reported before that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

from hvd_imgcls.config import RunConfig, load_config, to_tree
from hvd_imgcls.config.reading.differences import differences
from hvd_imgcls.errors import ConfigError, FinishedError
from hvd_imgcls.launcher.elastic.ranks import elastic_job, is_restarted
from hvd_imgcls.run_directory.creation import DEFAULT_PARENT, begin, begin_next, free_beside
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, read_status

logger = logging.getLogger(__name__)

_MAY_CHANGE = ("run_dir", "logging", "checkpoint", "watchdog", "data.cache", "data.source.path")
_MAY_GROW = ("train.num_epochs", "train.num_steps")
_MAX_SHOWN = 20
# A host that was cut off holds the lock until its ranks have noticed, or its lease ends.
_LOCK_SECONDS = 180.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunPlace:
    """The directory of a run.

    Attributes:
        files: The directory.
        lock: Its lock, held.
        is_continued: Whether it holds an unfinished run, which is continued.
    """

    files: RunDir
    lock: RunLock
    is_continued: bool


def take_place(config: RunConfig, pipeline_name: str, *, is_fresh: bool = False) -> RunPlace:
    """Chooses and locks the directory of a run.

    That of the configuration, or else the last `runs/<pipeline_name>-<n>` with an unfinished run of
    the same configuration, or else the next one. Root only.

    Args:
        config: The configuration.
        pipeline_name: Name of the run directory if the configuration does not define it.
        is_fresh: Whether to begin a new run, beside the one that is there.

    If the ranks of an elastic job were started again, it is the directory that they had before.

    Raises:
        ConfigError: If another command writes there, if the run there is finished or has another
            configuration, or if the directory cannot be created.
        FinishedError: If the ranks were started again after their run was finished.
    """
    if is_restarted():
        earlier = _run_of_job(config, pipeline_name, elastic_job())
        if earlier is not None:
            if read_status(earlier).state is State.FINISHED:
                raise FinishedError(f"the run in {earlier.path} is finished")
            return RunPlace(files=earlier, lock=_lock_of_job(earlier), is_continued=True)
    if config.run_dir is None:
        found = None if is_fresh else _last_unfinished(config, pipeline_name)
        if found is not None:
            # Another command may have begun to continue it.
            with contextlib.suppress(ConfigError):
                return RunPlace(files=found, lock=RunLock(found.path), is_continued=True)
        files = begin_next(pipeline_name)
        return RunPlace(files=files, lock=RunLock(files.path), is_continued=False)
    path = Path(config.run_dir)
    if is_fresh and RunDir(path).holds_run():
        path = free_beside(path)
    files = begin(path)
    lock = RunLock(path)
    try:
        is_continued = files.holds_run()
        if is_continued:
            require_continuable(config, files)
    except ConfigError:
        lock.release()
        raise
    return RunPlace(files=files, lock=lock, is_continued=is_continued)


def require_continuable(config: RunConfig, files: RunDir) -> None:
    """Raises an error if a command with this configuration cannot continue a run.

    Args:
        config: The configuration.
        files: A directory that holds a run.

    Raises:
        ConfigError: If the run is finished, or has another configuration.
    """
    different = _differences(config, files)
    changed = [row for row in different if not _may_change(*row)]
    if changed:
        rows = [f"{key}: {old} there, {new} here" for key, (old, new) in changed[:_MAX_SHOWN]]
        more = len(changed) - len(rows)
        raise ConfigError(
            "run_dir",
            got=f"{files.path}, which holds a run of another configuration",
            expected="one of the same configuration, to continue it",
            fix="\n  ".join(
                [
                    "change it back, choose another --run_dir, or begin beside it with --fresh:",
                    *rows,
                    *([f"and {more} more"] if more > 0 else []),
                ]
            ),
        )
    if read_status(files).state is State.FINISHED and not any(
        key in _MAY_GROW for key, _ in different
    ):
        raise ConfigError(
            "run_dir",
            got=f"{files.path}, which holds a finished run",
            expected="a directory without a run, or with one that is not finished",
            fix="choose another --run_dir, begin beside it with --fresh, or raise "
            "train.num_epochs to train it longer",
        )


def _run_of_job(config: RunConfig, pipeline_name: str, job: str) -> RunDir | None:
    """Returns the run of an elastic job, None if it had begun none."""
    path = DEFAULT_PARENT / pipeline_name if config.run_dir is None else Path(config.run_dir)
    for one in [path, *path.parent.glob(f"{glob.escape(path.name)}-[1-9]*")]:
        files = RunDir(one)
        if files.launches.is_file():
            last = files.launches.read_text(encoding="utf-8").splitlines()[-1:]
            if last and json.loads(last[0]).get("elastic_job") == job:
                return files
    return None


def _lock_of_job(files: RunDir) -> RunLock:
    """Takes the lock of a run whose earlier ranks may still be ending."""
    deadline = time.monotonic() + _LOCK_SECONDS
    has_said = False
    while True:
        try:
            return RunLock(files.path)
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            if not has_said:
                logger.info("waiting for the ranks that wrote to %s to end", files.path)
                has_said = True
            time.sleep(0.5)


def _last_unfinished(config: RunConfig, pipeline_name: str) -> RunDir | None:
    """Returns the last unfinished run of a configuration, None if there is none."""
    pattern = re.compile(re.escape(pipeline_name) + r"-([1-9][0-9]*)")
    numbered = [
        (int(match[1]), path)
        for path in (DEFAULT_PARENT.iterdir() if DEFAULT_PARENT.is_dir() else ())
        if (match := pattern.fullmatch(path.name))
    ]
    for _, path in sorted(numbered, reverse=True):
        files = RunDir(path)
        if not files.config.is_file():
            continue
        state = read_status(files).state
        if state not in (State.STOPPED, State.FAILED, State.KILLED):
            continue
        try:
            different = _differences(config, files)
        except ConfigError:
            continue
        if all(_is_below(key, _MAY_CHANGE) for key, _ in different):
            return files
    return None


def _differences(config: RunConfig, files: RunDir) -> list[tuple[str, list[str]]]:
    """Returns the keys that differ between a run and a configuration, with both values.

    Raises:
        ConfigError: If the configuration of the run cannot be read.
    """
    if not files.config.is_file():
        raise ConfigError(
            "run_dir",
            got=f"{files.path}, which holds files of a run, but no config.yaml",
            expected="a directory without a run, or with one that can be continued",
            fix="choose another --run_dir, or begin beside it with --fresh",
        )
    old = to_tree(load_config(files.config, is_of_run=True))
    return differences([old, to_tree(config)])


def _may_change(key: str, values: list[Any]) -> bool:
    old, new = values
    if key in _MAY_GROW:
        return old.isdecimal() and new.isdecimal() and int(new) > int(old)
    return _is_below(key, _MAY_CHANGE)


def _is_below(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
