"""`hvd-imgcls keys [SECTION ...]`."""

from __future__ import annotations

import argparse
import sys

from hvd_imgcls.config.key_help import key_help, overview, section_names
from hvd_imgcls.environment.topology import launched_rank_and_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `keys`."""
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        choices=[[], *section_names()],
        help=f"one of {', '.join(section_names())}; default: a list of them",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the keys. Root only: a no-op elsewhere."""
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    chosen = [line for name in arguments.sections for line in (*key_help(name), "")]
    for line in chosen or overview():
        sys.stdout.write(f"{line}\n")
