"""Creates run directories."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory.paths import RunDir

DEFAULT_PARENT = Path("runs")


def begin(path: Path) -> RunDir:
    """Creates the directory of a run, if it does not exist.

    Root only: other ranks receive the path from the root.

    Raises:
        ConfigError: If it cannot be created.
    """
    _make(path, exist_ok=True)
    return RunDir(path)


def free_beside(path: Path) -> Path:
    """Returns the first of `<path>-2`, `<path>-3`, ... that holds no run."""
    number = 2
    while RunDir(path.with_name(f"{path.name}-{number}")).holds_run():
        number += 1
    return path.with_name(f"{path.name}-{number}")


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
