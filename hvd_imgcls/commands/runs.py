"""`hvd-imgcls runs [DIR]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `runs`."""
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="directory with run directories (default: runs)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the runs. Root only: a no-op elsewhere."""
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    from hvd_imgcls.workflows.report.listing import list_runs

    for line in list_runs(arguments.directory):
        sys.stdout.write(f"{line}\n")
