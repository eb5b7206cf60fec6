"""The checkpoints of a run, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.entry import Entry
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, read_status
from hvd_imgcls.text.printable import printable
from hvd_imgcls.text.table import text_table
from hvd_imgcls.workflows.checkpoints.finding import store_of

_HEADER = ("checkpoint", "step", "epoch", "phase", "saved", "ranks", "size", "metrics")
_MEGABYTE = 1e6
_MOST_METRICS = 4


def list_checkpoints(run_dir: Path) -> Iterator[str]:
    """Yields the lines of a table, the oldest first, and what a continuation would do.

    Args:
        run_dir: The run directory.

    Raises:
        ConfigError: If it is not one.
        CheckpointError: If the directory cannot be read.
    """
    entries = store_of(run_dir).entries()
    if entries:
        yield from text_table([_HEADER, *(_row(entry) for entry in entries)])
    yield _next(RunDir(run_dir), entries)


def verify_checkpoints(run_dir: Path) -> Iterator[tuple[str, bool]]:
    """Yields a line for every checkpoint, and whether it is sound.

    Args:
        run_dir: The run directory.

    Raises:
        ConfigError: If it is not one.
        CheckpointError: If the directory cannot be read.
    """
    store = store_of(run_dir)
    for entry in store.entries():
        problem = _problem_of(store, entry)
        yield f"{entry.path.name}: {problem or 'sound'}", not problem


def _problem_of(store: CheckpointStore, entry: Entry) -> str:
    try:
        store.verify(entry)
    except CheckpointError as error:
        return str(error)
    return ""


def _row(entry: Entry) -> list[str]:
    if entry.problem is not None:
        return [entry.path.name, f"{entry.step:,}", printable(entry.problem)]
    facts = entry.facts
    return [
        entry.path.name,
        f"{entry.step:,}",
        _text(facts.get("epoch")),
        _text(facts.get("phase")),
        _text(facts.get("saved")).replace("T", " ").replace("+00:00", " UTC"),
        _text(facts.get("size")),
        f"{entry.bytes / _MEGABYTE:,.1f} MB",
        _metrics(facts.get("metrics")),
    ]


def _text(value: Any) -> str:
    return "-" if value is None else printable(str(value))


def _metrics(metrics: Any) -> str:
    if not isinstance(metrics, dict) or not metrics:
        return "-"
    numbers = [(name, value) for name, value in metrics.items() if isinstance(value, float)]
    return ", ".join(f"{printable(name)} {value:.4f}" for name, value in numbers[:_MOST_METRICS])


def _next(files: RunDir, entries: list[Entry]) -> str:
    """Returns what the command of the run would do now."""
    status = read_status(files)
    sound = [entry for entry in entries if entry.problem is None]
    if status.state is State.FINISHED:
        return "the run is finished; it can be trained longer with a higher train.num_epochs"
    if status.state is State.RUNNING:
        return "the run goes on"
    how = f"{printable(status.message) or f'the run was {status.state.value}'}\n"
    if not sound:
        return f"{how}there is no checkpoint: the same command begins again"
    return f"{how}the same command continues after step {sound[-1].step:,}"
