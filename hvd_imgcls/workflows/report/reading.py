"""Reads a run directory, possibly somebody else's. Files that do not exist yet are skipped."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.config.reading import strict_yaml
from hvd_imgcls.errors import ConfigError, HvdImgclsError, first_line
from hvd_imgcls.files.json_files import parse_json, read_json
from hvd_imgcls.files.outside import (
    MAX_RESULTS_BYTES,
    MAX_SETTINGS_BYTES,
    MIB,
    read_bytes,
    read_text,
)
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.run_directory.status import Status, read_status

_MAX_SHEET_BYTES = 64 * MIB
# Other addresses would be loaded from the network, or from the machine of the reader.
_PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The contents of a run directory.

    Attributes:
        path: The directory.
        name: Its name.
        config: The resolved configuration.
        plan: The plan derived from it.
        epochs: Metrics of every epoch.
        pretraining: Metrics of every pre-training epoch.
        summary: Summary of the run; empty while it runs.
        status: Whether it goes on, or how it ended.
        metrics: Metrics of the evaluation; empty without one.
        curves: ROC and precision-recall curves; empty without an evaluation.
        launches: One record per launch.
        pictures: Data URIs of held-out images by example number.
        first_batch: Data URI of the contact sheet of the first batch, or None.
        reconstructions: Data URI of images next to their reconstructions.
        quarantined: Images that were left out.
    """

    path: Path
    name: str
    config: dict[str, Any]
    plan: dict[str, Any]
    epochs: list[dict[str, Any]]
    pretraining: list[dict[str, Any]]
    summary: dict[str, Any]
    status: Status
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
        path=path,
        name=path.resolve().name,
        config=_read(files.config, _mapping_in_yaml),
        plan=_read(files.plan, _mapping),
        epochs=_read(files.metrics, _lines),
        pretraining=_read(files.pretraining, _lines),
        summary=_read(files.summary, _mapping),
        status=read_status(files),
        metrics=_read(evaluation.metrics, _mapping),
        curves=_read(evaluation.curves, _mapping),
        launches=_read(files.launches, _lines),
        pictures=_read(files.pictures, _pictures),
        first_batch=_read(files.first_batch, _sheet),
        reconstructions=_read(files.reconstructions, _sheet),
        quarantined=_read(files.quarantine, _lines),
    )


@contextlib.contextmanager
def made_from(*paths: Path) -> Iterator[None]:
    """Context manager for what is made from the values of files, which need not be what we wrote.

    Args:
        paths: The files, or their directory.

    Raises:
        ConfigError: Instead of any other error, naming the files.
    """
    try:
        yield
    except HvdImgclsError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(
            "RUN_DIR",
            got=f"{' or '.join(map(str, paths))} ({reason[:200]})",
            expected="an undamaged file written by `hvd-imgcls`",
            fix="restore it, or delete it: the report skips missing files",
        ) from error


def _read(path: Path, read: Callable[[Path | None], Any]) -> Any:
    """Returns what a file contains, or what stands for a file that does not exist."""
    with made_from(path):
        return read(path if os.path.lexists(path) else None)


def _mapping_in_yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    tree = strict_yaml.read(read_text(path, MAX_SETTINGS_BYTES), origin=str(path))
    return dict(_require(tree, dict))


def _mapping(path: Path | None) -> dict[str, Any]:
    return {} if path is None else dict(_require(read_json(path), dict))


def _lines(path: Path | None) -> list[dict[str, Any]]:
    if path is None:
        return []
    # Not `splitlines`, which also divides at line breaks that JSON allows in text.
    # The last one may be half a line of a process that was killed.
    lines = read_text(path, MAX_RESULTS_BYTES).split("\n")[:-1]
    return [_require(parse_json(line), dict) for line in lines if line.strip()]


def _pictures(path: Path | None) -> dict[str, str]:
    pictures = _mapping(path)
    for example, picture in pictures.items():
        if not _PICTURE.fullmatch(_require(picture, str)):
            raise ValueError(f"the picture of example {example[:20]} is no data:image/png or jpeg")
    return pictures


def _sheet(path: Path | None) -> str | None:
    if path is None:
        return None
    content = base64.b64encode(read_bytes(path, _MAX_SHEET_BYTES)).decode()
    return f"data:image/png;base64,{content}"


def _require(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "text"
        raise TypeError(f"{type(value).__name__}, not {expected}")
    return value
