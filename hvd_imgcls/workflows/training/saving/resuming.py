"""Continues a run from its newest checkpoint."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.running.callbacks import CsvLogger
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.saving import newest_state
from hvd_imgcls.saving.newest_state import Resumed
from hvd_imgcls.text.numbers import duration

logger = logging.getLogger(__name__)


def read_newest(
    files: RunDir, facts: Mapping[str, Any], collectives: distributed.Collectives
) -> Resumed | None:
    """Returns the state from which a run is continued, on every rank; None if nothing was saved.

    Collective: every rank must call this. Only the root reads files.

    Args:
        files: The run directory.
        facts: What the new states will belong to.
        collectives: Communication between the ranks.

    Raises:
        CheckpointError: If all checkpoints are damaged.
        ConfigError: If the images differ from those of the run.
    """
    return newest_state.read_newest(
        files.checkpoints, collectives, lambda then: _require_same_images(then, facts, files)
    )


def describe_resumption(resumed: Resumed | None, files: RunDir, facts: Mapping[str, Any]) -> str:
    """Returns the line that says from where a run continues."""
    if resumed is None:
        return f"{files.path} holds a run that ended before its first checkpoint: it begins again"
    saved = str(resumed.facts.get("saved", ""))
    size, now = resumed.facts.get("size"), facts["size"]
    ranks = f", on {size} rank{'' if size == 1 else 's'}; now {now}" if size != now else ""
    return (
        f"continuing {files.path} after step {resumed.step:,} of {resumed.facts.get('phase')}, "
        f"epoch {int(resumed.facts.get('epoch', 0)) + 1}: saved {_age(saved)}{ranks}"
    )


def changed_versions(resumed: Resumed, facts: Mapping[str, Any]) -> list[str]:
    """Returns the versions that have changed since the state was saved, as text."""
    then, now = resumed.facts.get("versions", {}), facts["versions"]
    return [
        f"{name} {then[name]} then, {version} now"
        for name, version in now.items()
        if name in then and then[name] != version
    ]


def appended_files(config: RunConfig, files: RunDir) -> list[Path]:
    """Returns the files of a run to which lines are appended in training."""
    tables = [
        files.path / callback.file
        for callback in config.callbacks
        if isinstance(callback, CsvLogger)
    ]
    return [files.metrics, files.pretraining, files.nodes, files.quarantine, *tables]


def lengths_of(paths: Sequence[Path]) -> dict[str, int]:
    """Returns the size of each file that exists, in bytes, by name."""
    return {path.name: path.stat().st_size for path in paths if path.is_file()}


def sync_files(paths: Sequence[Path]) -> None:
    """Syncs the files that exist to disk, so that a power failure leaves their lengths.

    Raises:
        OSError: If one cannot be written.
    """
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def cut_to(paths: Sequence[Path], lengths: Mapping[str, int]) -> None:
    """Removes what was appended to files after the state was saved. Root only.

    Args:
        paths: The files.
        lengths: Their lengths at that time, by name; a missing one had not existed.

    Raises:
        OSError: If a file cannot be written.
    """
    for path in paths:
        if not path.is_file():
            continue
        length = lengths.get(path.name, 0)
        if path.stat().st_size > length:
            os.truncate(path, length)
        elif path.stat().st_size < length:
            logger.warning("%s: lines are missing that were there when the state was saved", path)


def _require_same_images(then: Mapping[str, Any], now: Mapping[str, Any], files: RunDir) -> None:
    if then.get("data") != now["data"]:
        raise ConfigError(
            "data.source",
            got=f"other images than those on which {files.path} was trained so far",
            expected="the same names, labels and splits, wherever they lie",
            fix="restore them, choose another --run_dir, or begin beside it with --fresh",
        )


def _age(saved: str) -> str:
    try:
        then = datetime.datetime.fromisoformat(saved)
        seconds = (datetime.datetime.now(datetime.UTC) - then).total_seconds()
    except (ValueError, TypeError):
        return "at an unknown time"
    return f"{duration(max(0.0, seconds))} ago, {then:%Y-%m-%d %H:%M} UTC"
