"""The directory of one run: what everything in it is called, and who may begin one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import ConfigError

DEFAULT_PARENT = Path("runs")


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names of the files of a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration, defaults included, as a pipeline file."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """What followed from configuration, data and ranks."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def classes(self) -> Path:
        """Names of the classes: a label is a position in the list."""
        return self.path / "classes.json"

    @property
    def launches(self) -> Path:
        """One JSON object per launch: command, ranks, machines, versions."""
        return self.path / "launches.jsonl"

    @property
    def first_batch(self) -> Path:
        """Images of the first batch, as the network gets them."""
        return self.path / "first_batch.png"

    @property
    def pictures(self) -> Path:
        """Held-out images that are worth looking at, small."""
        return self.path / "pictures.json"

    @property
    def tensorboard(self) -> Path:
        """A directory of curves and pictures for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def summary(self) -> Path:
        """What came of the run, and what it took."""
        return self.path / "summary.json"

    @property
    def pretraining(self) -> Path:
        """One JSON object per epoch of the training without labels; there if there was one."""
        return self.path / "pretraining.jsonl"

    @property
    def reconstructions(self) -> Path:
        """Held-out images beside what the autoencoder makes of them."""
        return self.path / "reconstructions.png"

    @property
    def quarantine(self) -> Path:
        """One JSON object per image that was left out; there if any was."""
        return self.path / "quarantine.jsonl"

    @property
    def evaluation(self) -> Path:
        """Exact metrics of the held-out split."""
        return self.path / "evaluation.json"

    @property
    def model(self) -> Path:
        """The trained model as a plain Keras file."""
        return self.path / "model.keras"

    @property
    def model_without_ema(self) -> Path:
        """The model of the weights themselves; there if `train.ema` made `model` the average."""
        return self.path / "model_without_ema.keras"

    @property
    def evaluation_without_ema(self) -> Path:
        """Its metrics."""
        return self.path / "evaluation_without_ema.json"

    @property
    def best_model(self) -> Path:
        """The best model so far; there if the callback `model_checkpoint` keeps one."""
        return self.path / "checkpoints" / "best.keras"

    @property
    def best_metrics(self) -> Path:
        """Its epoch and metrics."""
        return self.path / "checkpoints" / "best.json"

    @property
    def report(self) -> Path:
        """A page about the run."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What the root said."""
        return self.path / "log.txt"

    def holds_run(self) -> bool:
        """Returns whether a run was begun or finished here."""
        return any(path.exists() for path in (self.config, self.model, self.metrics))


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """The files of one evaluation in a directory.

    Attributes:
        directory: Where they are; it need not be there yet.
        suffix: What their names end in, before the ending of a file.
    """

    directory: Path
    suffix: str = ""

    @property
    def figures(self) -> Path:
        """All figures."""
        return self.directory / f"evaluation{self.suffix}.json"

    @property
    def curves(self) -> Path:
        """ROC and precision-recall curves."""
        return self.directory / f"curves{self.suffix}.json"

    @property
    def predictions(self) -> Path:
        """A row for every held-out image."""
        return self.directory / f"predictions{self.suffix}.parquet"


def begin(path: Path) -> RunDir:
    """Makes the directory of a new run.

    Root only: other ranks take the path that the root tells them.

    Raises:
        ConfigError: If the directory holds a run, or cannot be made.
    """
    run_dir = RunDir(path)
    require_no_run(run_dir)
    _make(path, exist_ok=True)
    return run_dir


def require_no_run(run_dir: RunDir) -> None:
    """Refuses a directory that holds a run, begun or finished.

    Raises:
        ConfigError: If it does.
    """
    if run_dir.holds_run():
        raise ConfigError(
            "run_dir",
            got=str(run_dir.path),
            expected="a directory without a run",
            fix="choose another --run_dir, or remove the old run",
        )


def begin_next(pipeline_name: str, parent: Path = DEFAULT_PARENT) -> RunDir:
    """Makes `<parent>/<pipeline_name>-<n>` with the first n that no run of any process has.

    Root only: other ranks take the path that the root tells them.
    """
    _make(parent, exist_ok=True)
    number = 1
    while True:
        path = parent / f"{pipeline_name}-{number}"
        try:
            _make(path, exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return RunDir(path)


def begin_named(run_dir: str | None, pipeline_name: str) -> RunDir:
    """Makes the directory that a configuration names, or the next one of a pipeline.

    Root only: other ranks take the path that the root tells them.
    """
    return begin_next(pipeline_name) if run_dir is None else begin(Path(run_dir))


def _make(path: Path, *, exist_ok: bool) -> None:
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        if not exist_ok:
            raise
        raise _unusable(path, "a file") from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        "run_dir",
        got=f"{path} ({reason})",
        expected="a directory that can be written",
        fix="give another one with --run_dir",
    )


def write_text(path: Path, text: str) -> None:
    """Writes a file so that nobody ever sees half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_model(path: Path, model: Any) -> None:
    """Saves a Keras model so that nobody ever sees half of it."""
    # Keras chooses the format by the suffix.
    partial = path.with_name(f".partial.{path.name}")
    model.save(partial)
    os.replace(partial, path)


def digest(path: Path) -> str:
    """Returns 16 hex digits of the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends one line of JSON for every value."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n" for value in values
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, the same value always as the same bytes."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any, indent: str = "") -> str:
    """Returns JSON to be read by people too: a list of numbers or texts stands in one line.

    >>> print(to_json({"name": "a", "matrix": [[1, 2], [3, 4]]}))
    {
      "name": "a",
      "matrix": [
        [1, 2],
        [3, 4]
      ]
    }
    """
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        inner = [f"{_scalar(str(key))}: {to_json(item, deeper)}" for key, item in value.items()]
        opened, closed = "{", "}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        inner = [to_json(item, deeper) for item in value]
        opened, closed = "[", "]"
    else:
        return _scalar(value)
    lines = f",\n{deeper}".join(inner)
    return f"{opened}\n{deeper}{lines}\n{indent}{closed}"


def _scalar(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
