"""The argument SOURCE: a folder of class folders, or a pipeline file that reads one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pydantic

from hvd_imgcls.commands.quiet import import_tensorflow_quietly
from hvd_imgcls.config import load_config
from hvd_imgcls.config.sources import ImageFolderSource, Source
from hvd_imgcls.data import open_source, opens_without_tensorflow
from hvd_imgcls.data.sources.byte_ranges import PlacedImages
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.errors import ConfigError


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds SOURCE and, for a folder, how it is split."""
    parser.add_argument(
        "source", metavar="SOURCE", help="folder of class folders, or a pipeline file"
    )
    folder = parser.add_argument_group("a folder's splits")
    folder.add_argument("--train-folder", help="folder in SOURCE with the training images")
    folder.add_argument("--held-out-folder", help="folder in SOURCE with the held-out images")
    folder.add_argument(
        "--held-out-fraction",
        type=float,
        default=0.2,
        help="without these two: fraction of every class that is held out (default: 0.2)",
    )
    folder.add_argument("--split-seed", type=int, default=0, help="seed of that choice")


def source_of(arguments: argparse.Namespace) -> Source:
    """Returns what `add_source` has read.

    Raises:
        ConfigError: If the options do not go together.
    """
    if Path(arguments.source).suffix in (".yaml", ".yml"):
        return load_config(arguments.source, []).data.source
    try:
        return ImageFolderSource(
            name="image_folder",
            path=arguments.source,
            train_folder=arguments.train_folder,
            held_out_folder=arguments.held_out_folder,
            held_out_fraction=arguments.held_out_fraction,
            split_seed=arguments.split_seed,
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])) or "train_folder, --held_out_folder"
        raise ConfigError(
            f"--{name.replace('_', '-')}",
            got=problem["input"] if problem["loc"] else "one of them",
            expected=problem["msg"],
            fix="correct the command line",
        ) from error


def open_named(arguments: argparse.Namespace) -> FileSource | PlacedImages:
    """Returns the image files that SOURCE names.

    Raises:
        ConfigError: If it names no image files.
        DataError: If there is something wrong with them.
    """
    named = source_of(arguments)
    if not opens_without_tensorflow(named):
        import_tensorflow_quietly(arguments.verbosity)
    source = open_source(named)
    if isinstance(source, FileSource | PlacedImages):
        return source
    raise ConfigError(
        "SOURCE",
        got=arguments.source,
        expected="image files",
        fix="give a folder of class folders, or a pipeline file that reads image files",
    )
