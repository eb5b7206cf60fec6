"""The runs in a directory, as a table for the terminal."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config.reading.differences import differences
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State
from hvd_imgcls.text.numbers import duration
from hvd_imgcls.text.printable import printable
from hvd_imgcls.text.table import text_table
from hvd_imgcls.workflows.report.reading import RunRecord, read_run

HEADER = ("run", "state", "epochs", "top 1", "balanced", "loss", "time", "differs in")
MOST_DIFFERENCES = 4


def list_runs(folder: Path) -> Iterator[str]:
    """Yields the lines of a table of the runs in a directory, the oldest first.

    `differs in` shows the keys in which a run differs from the most frequent value of all.

    Args:
        folder: A directory with run directories, or one run directory.

    Raises:
        ConfigError: If it is not a directory, or contains no run.
    """
    paths = _runs_in(folder)
    read = [_read(path) for path in paths]
    known = [one for one in read if isinstance(one, RunRecord)]
    different = iter(_unusual([run.config for run in known]))
    rows = [
        _row(one, next(different))
        if isinstance(one, RunRecord)
        else [printable(path.name), f"damaged: {one}"]
        for path, one in zip(paths, read, strict=True)
    ]
    return text_table([HEADER, *rows])


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(
            "DIR",
            got=f"{folder}, which is not a directory",
            expected="a directory with runs",
            fix="pass the parent of the run directories; the default is runs",
        )
    candidates = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    paths = [path for path in candidates if RunDir(path).config.is_file()]
    if not paths:
        raise ConfigError(
            "DIR",
            got=f"{folder}, which contains no run",
            expected="run directories, each with a config.yaml",
            fix="pass the parent of the run directories",
        )
    return sorted(paths, key=lambda path: (RunDir(path).config.stat().st_mtime_ns, path.name))


def _read(path: Path) -> RunRecord | ConfigError:
    try:
        return read_run(path)
    except ConfigError as error:
        return error


def _row(run: RunRecord, different: str) -> list[str]:
    metrics, seconds = run.metrics, run.summary.get("seconds", {}).get("total")
    return [
        printable(run.name),
        _state(run),
        f"{len(run.epochs)} of {run.plan.get('num_epochs', '?')}",
        *(_number(metrics.get(name)) for name in ("top1", "balanced_accuracy", "loss")),
        "-" if seconds is None else duration(seconds),
        different,
    ]


def _state(run: RunRecord) -> str:
    """Returns the state of a run, and from which step it can be continued."""
    state = run.status.state
    if state is State.FINISHED:
        return str(state.value)
    with contextlib.suppress(CheckpointError):
        entries = CheckpointStore(RunDir(run.path).checkpoints).entries()
        sound = [entry.step for entry in entries if entry.problem is None]
        if sound:
            return f"{state.value}, saved at step {sound[-1]:,}"
    return str(state.value)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"


def _unusual(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns by run the keys and values that differ from the most frequent value.

    Of a section whose `name` differs, only that.
    """
    found: list[list[str]] = [[] for _ in configs]
    rows = differences(configs) if configs else []
    renamed = {key.removesuffix("name") for key, _ in rows if key.endswith(".name")}
    for key, values in rows:
        if not key.endswith(".name") and any(key.startswith(section) for section in renamed):
            continue
        usual = Counter(values).most_common(1)[0][0]
        for of_run, value in zip(found, values, strict=True):
            if value != usual:
                of_run.append(f"{key}: {printable(value)}")
    return [_shortened(of_run) for of_run in found]


def _shortened(parts: Sequence[str]) -> str:
    more = len(parts) - MOST_DIFFERENCES
    return ", ".join([*parts[:MOST_DIFFERENCES], *([f"{more} more"] if more > 0 else [])])
