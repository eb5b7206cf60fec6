"""The pipelines that are installed with this package, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "pipelines"


def pipeline_names() -> list[str]:
    """Returns the names of the installed pipelines, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_pipeline(name: str | Path) -> Path:
    """Returns the file of a pipeline.

    A file at that path comes first; then `NAME` or `pipelines/NAME.yaml` is an installed pipeline.

    Args:
        name: Path of a file, or name of an installed pipeline. If it is neither, it is returned
            unchanged, so that reading it says what is wrong.
    """
    path = Path(name)
    is_name = path.name == str(name) and not path.suffix
    if not path.exists() and (is_name or path.parent == Path("pipelines")):
        installed = FOLDER / f"{path.stem}.yaml"
        if installed.is_file():
            return installed
    return path
