"""`hvd-imgcls prepare SOURCE DEST`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.arguments.image_source import add_source, open_named
from hvd_imgcls.config import DEFAULT_MAX_PIXELS
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `prepare`."""
    add_source(parser)
    parser.add_argument("destination", metavar="DEST", help="output folder; new or empty")
    files = parser.add_argument_group("record files")
    files.add_argument(
        "--max-side", type=int, help="downscale images whose longer side has more pixels"
    )
    files.add_argument(
        "--quality", type=int, default=95, help="JPEG quality of downscaled images (default: 95)"
    )
    files.add_argument(
        "--raw", action="store_true", help="store raw pixels (24-bit BMP): large, fast to decode"
    )
    files.add_argument(
        "--examples-per-block", type=int, default=1024, help="images per file (default: 1024)"
    )
    files.add_argument(
        "--max-pixels",
        type=int,
        default=DEFAULT_MAX_PIXELS,
        help=f"reject larger images before decoding them (default: {DEFAULT_MAX_PIXELS:,} pixels)",
    )
    files.add_argument("--seed", type=int, default=0, help="seed of the order within the files")
    files.add_argument(
        "--hosts",
        type=int,
        metavar="N",
        help="also assign the files to N hosts, for `data.placement`",
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the record files. Collective: every rank must call this."""
    for option, least, most in (
        ("max_side", 1, 2**16),
        ("quality", 1, 100),
        ("max_pixels", 1, 2**63),
        ("hosts", 1, 999),
    ):
        _require_between(arguments, option, least, most)
    for option in ("examples_per_block", "seed", "split_seed"):
        _require_between(arguments, option, int(option == "examples_per_block"), 2**32 - 1)
    source = open_named(arguments)
    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.prepare import prepare
    from hvd_imgcls.workflows.preparing.re_encoding import Encoding

    prepare(
        source,
        Path(arguments.destination).expanduser(),
        encoding=Encoding(
            max_side=arguments.max_side,
            quality=arguments.quality,
            is_raw=arguments.raw,
            max_pixels=arguments.max_pixels,
        ),
        examples_per_block=arguments.examples_per_block,
        seed=arguments.seed,
        num_hosts=arguments.hosts,
        verbosity=arguments.verbosity,
    )


def _require_between(arguments: argparse.Namespace, option: str, least: int, most: int) -> None:
    value = getattr(arguments, option)
    if value is not None and not least <= value <= most:
        raise ConfigError(
            f"--{option.replace('_', '-')}",
            got=value,
            expected=f"a number from {least} to {most}",
            fix="correct it",
        )
