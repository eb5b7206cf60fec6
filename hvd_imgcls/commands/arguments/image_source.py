"""The argument SOURCE: a folder with one subfolder per class, or a pipeline file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pydantic

from hvd_imgcls.config import load_config
from hvd_imgcls.config.data.sources import ImageFolderSource, Source
from hvd_imgcls.data import open_source, opens_without_tensorflow
from hvd_imgcls.data.sources.byte_ranges import PackedImages
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.folder_scan import FolderProblem
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import ConfigError, alike_on_all_ranks
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds SOURCE and the options that split a folder."""
    parser.add_argument(
        "source", metavar="SOURCE", help="folder with one subfolder per class, or a pipeline file"
    )
    folder = parser.add_argument_group("splits of a folder")
    folder.add_argument("--train-folder", help="subfolder of SOURCE with the training images")
    folder.add_argument("--held-out-folder", help="subfolder of SOURCE with the held-out images")
    folder.add_argument(
        "--held-out-fraction",
        type=float,
        default=0.2,
        help="without split folders: fraction of every class to hold out (default: 0.2)",
    )
    folder.add_argument("--split-seed", type=int, default=0, help="seed of the random split")


def source_of(arguments: argparse.Namespace) -> Source:
    """Returns the source described by the arguments that `add_source` added.

    Raises:
        ConfigError: If the options contradict each other.
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
            got=problem["input"] if problem["loc"] else "only one of them",
            expected=problem["msg"],
            fix="correct the command line",
        ) from error


def open_named(
    arguments: argparse.Namespace, *, problems: list[FolderProblem] | None = None
) -> FileSource | PackedImages:
    """Opens the image files of SOURCE.

    Args:
        arguments: Those that `add_source` added.
        problems: Where to add what is wrong with class folders. If None, it is an error.

    Raises:
        ConfigError: If SOURCE has no image files.
        DataError: If the data are missing or unreadable.
    """
    named = source_of(arguments)
    if not opens_without_tensorflow(named):
        import_tensorflow_quietly(arguments.verbosity)
    if isinstance(named, ImageFolderSource):
        with alike_on_all_ranks():
            return open_image_folder(named, problems=problems)
    source = open_source(named)
    if isinstance(source, FileSource | PackedImages):
        return source
    raise ConfigError(
        "SOURCE",
        got=arguments.source,
        expected="image files",
        fix="pass a folder with one subfolder per class, or a pipeline file that reads image files",
    )
