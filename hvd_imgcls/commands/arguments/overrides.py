"""Arguments shared by all commands that read a pipeline file."""

from __future__ import annotations

import argparse

OVERRIDES_EPILOG = (
    "Any key of the pipeline file can be changed: --key.path VALUE, where VALUE is YAML.\n"
    "  --train.num_epochs 2   --augment.0.padding 2   --optimizer '{name: adam}'\n"
    "`hvd-imgcls keys` lists the sections, `hvd-imgcls keys optimizer` explains the keys of one."
)


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Adds the pipeline file and the overrides, stored in `arguments.overrides`."""
    parser.add_argument(
        "pipeline",
        metavar="PIPELINE",
        help="YAML file, or the name of an installed pipeline such as digits_cnn",
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Makes a command accept `--key.path value`."""
    parser.set_defaults(overrides=[])
    parser.epilog = OVERRIDES_EPILOG
