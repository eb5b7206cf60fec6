"""The run directory: the names of its files, and how a new one is created."""

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
    """File names of a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration, including defaults, as a pipeline file."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """The plan, derived from configuration, data and ranks."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def classes(self) -> Path:
        """Class names: a label is an index into the list."""
        return self.path / "classes.json"

    @property
    def launches(self) -> Path:
        """One JSON object per launch: command, ranks, machines, versions."""
        return self.path / "launches.jsonl"

    @property
    def first_batch(self) -> Path:
        """Contact sheet of the first batch, as the network receives it."""
        return self.path / "first_batch.png"

    @property
    def pictures(self) -> Path:
        """Thumbnails of notable held-out images."""
        return self.path / "pictures.json"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard log directory."""
        return self.path / "tensorboard"

    @property
    def summary(self) -> Path:
        """Results and costs of the run."""
        return self.path / "summary.json"

    @property
    def pretraining(self) -> Path:
        """One JSON object per pre-training epoch; present if there was pre-training."""
        return self.path / "pretraining.jsonl"

    @property
    def reconstructions(self) -> Path:
        """Held-out images next to their reconstructions by the autoencoder."""
        return self.path / "reconstructions.png"

    @property
    def quarantine(self) -> Path:
        """One JSON object per image that was left out; present if there were any."""
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
        """The model with the raw weights; present if `train.ema` averaged those of `model`."""
        return self.path / "model_without_ema.keras"

    @property
    def evaluation_without_ema(self) -> Path:
        """Its metrics."""
        return self.path / "evaluation_without_ema.json"

    @property
    def best_model(self) -> Path:
        """The best model so far; present with the callback `model_checkpoint`."""
        return self.path / "checkpoints" / "best.keras"

    @property
    def best_metrics(self) -> Path:
        """Its epoch and metrics."""
        return self.path / "checkpoints" / "best.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """The log of the root."""
        return self.path / "log.txt"

    def holds_run(self) -> bool:
        """Returns whether the directory holds a run, finished or not."""
        return any(path.exists() for path in (self.config, self.model, self.metrics))


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """The files of one evaluation in a directory.

    Attributes:
        directory: Their directory; it need not exist yet.
        suffix: Suffix of the file names, before the extension.
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
        """One row per held-out image."""
        return self.directory / f"predictions{self.suffix}.parquet"


def begin(path: Path) -> RunDir:
    """Creates the directory of a new run.

    Root only: other ranks receive the path from the root.

    Raises:
        ConfigError: If the directory holds a run, or cannot be created.
    """
    run_dir = RunDir(path)
    require_no_run(run_dir)
    _make(path, exist_ok=True)
    return run_dir


def require_no_run(run_dir: RunDir) -> None:
    """Raises an error if a directory holds a run, finished or not.

    Raises:
        ConfigError: If it does.
    """
    if run_dir.holds_run():
        raise ConfigError(
            "run_dir",
            got=str(run_dir.path),
            expected="a directory without a run",
            fix="choose another --run_dir, or delete the old run",
        )


def begin_next(pipeline_name: str, parent: Path = DEFAULT_PARENT) -> RunDir:
    """Creates `<parent>/<pipeline_name>-<n>` with the first n not taken by any process.

    Root only: other ranks receive the path from the root.
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
    """Creates the directory named in the configuration, or the next one of a pipeline.

    Root only: other ranks receive the path from the root.
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
        expected="a writable directory",
        fix="choose another one with --run_dir",
    )


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_model(path: Path, model: Any) -> None:
    """Saves a Keras model atomically."""
    # Keras determines the format from the suffix.
    partial = path.with_name(f".partial.{path.name}")
    model.save(partial)
    os.replace(partial, path)


def digest(path: Path) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends one line of JSON per value."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n" for value in values
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, deterministically: equal values give equal bytes."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any, indent: str = "") -> str:
    """Formats a value as readable JSON: a list of numbers or strings takes one line.

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
