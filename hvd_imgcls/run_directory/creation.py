"""Creates run directories."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory.paths import RunDir

DEFAULT_PARENT = Path("runs")


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
