"""`hvd-imgcls check-data SOURCE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.image_source import add_source, open_named
from hvd_imgcls.commands.sigterm import install_sigterm_grace
from hvd_imgcls.commands.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.config import DEFAULT_MAX_PIXELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `check-data`."""
    add_source(parser)
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        default="manifest.parquet",
        help="output table with one row per image (default: manifest.parquet)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=DEFAULT_MAX_PIXELS,
        help=f"reject larger images before decoding them (default: {DEFAULT_MAX_PIXELS:,} pixels)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Checks the images. Collective: every rank must call this."""
    source = open_named(arguments)
    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.check_data import check_data

    check_data(
        source,
        Path(arguments.manifest).expanduser(),
        max_pixels=arguments.max_pixels,
        verbosity=arguments.verbosity,
    )
