"""Reads a run directory. Files that do not exist yet are skipped."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The contents of a run directory.

    Attributes:
        name: Name of the directory.
        config: The resolved configuration.
        plan: The plan derived from it.
        epochs: Metrics of every epoch.
        pretraining: Metrics of every pre-training epoch.
        summary: Summary of the run; empty while it runs.
        metrics: Metrics of the evaluation; empty without one.
        curves: ROC and precision-recall curves; empty without an evaluation.
        launches: One record per launch.
        pictures: Data URIs of held-out images by example number.
        first_batch: Data URI of the contact sheet of the first batch, or None.
        reconstructions: Data URI of images next to their reconstructions.
        quarantined: Images that were left out.
    """

    name: str
    config: dict[str, Any]
    plan: dict[str, Any]
    epochs: list[dict[str, Any]]
    pretraining: list[dict[str, Any]]
    summary: dict[str, Any]
    metrics: dict[str, Any]
    curves: dict[str, Any]
    launches: list[dict[str, Any]]
    pictures: dict[str, str]
    first_batch: str | None
    reconstructions: str | None
    quarantined: list[dict[str, Any]]


def read_run(path: Path) -> RunRecord:
    """Reads a run directory.

    Raises:
        ConfigError: If it is not a run directory, or a file in it is damaged.
    """
    files = RunDir(path)
    if not files.config.is_file():
        raise ConfigError(
            "RUN_DIR",
            got=str(path),
            expected="a run directory, with a config.yaml",
            fix="pass a run directory written by `hvd-imgcls train`",
        )
    evaluation = EvaluationFiles(path)
    return RunRecord(
        name=path.resolve().name,
        config=_read_yaml(files.config),
        plan=_read_json(files.plan, {}),
        epochs=_read_lines(files.metrics),
        pretraining=_read_lines(files.pretraining),
        summary=_read_json(files.summary, {}),
        metrics=_read_json(evaluation.metrics, {}),
        curves=_read_json(evaluation.curves, {}),
        launches=_read_lines(files.launches),
        pictures=_read_json(files.pictures, {}),
        first_batch=_read_picture(files.first_batch),
        reconstructions=_read_picture(files.reconstructions),
        quarantined=_read_lines(files.quarantine),
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise _damaged(path, error) from error


def _read_picture(path: Path) -> str | None:
    if not path.is_file():
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _damaged(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        "RUN_DIR",
        got=f"{path} ({error})",
        expected="an undamaged file written by `hvd-imgcls`",
        fix="restore it, or delete it: the report skips missing files",
    )
