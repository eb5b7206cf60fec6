"""`hvd-imgcls check-data SOURCE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.arguments.image_source import add_source, open_named, source_of
from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.config.data.sources import ManifestSource, Source
from hvd_imgcls.data.sources.folder_scan import FolderProblem
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `check-data`."""
    add_source(parser)
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        default="manifest.parquet",
        help="output table with one row per image (default: manifest.parquet in the current "
        "directory)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the output table")
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=DEFAULT_MAX_PIXELS,
        help=f"reject larger images before decoding them (default: {DEFAULT_MAX_PIXELS:,} pixels)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Checks the images. Collective: every rank must call this."""
    manifest_path = Path(arguments.manifest).expanduser()
    _require_other_file(source_of(arguments), manifest_path)
    problems: list[FolderProblem] = []
    source = open_named(arguments, problems=problems)
    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.check_data import check_data

    check_data(
        source,
        manifest_path,
        max_pixels=arguments.max_pixels,
        problems=problems,
        overwrites=arguments.force,
        verbosity=arguments.verbosity,
    )


def _require_other_file(source: Source, manifest_path: Path) -> None:
    """Raises an error if the output would replace the table that lists the images.

    Its other columns would be lost, and the images that it lists as bad, which are not read.
    """
    if not isinstance(source, ManifestSource):
        return
    if Path(source.path).expanduser().resolve() == manifest_path.resolve():
        raise ConfigError(
            "--manifest",
            got=str(manifest_path.absolute()),
            expected="another file than the one that the source reads",
            fix="choose another name with --manifest FILE",
        )
