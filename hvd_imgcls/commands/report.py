"""`hvd-imgcls report RUN_DIR [RUN_DIR ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `report`."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN_DIR", help="run directory; several are compared"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="output file; default: RUN_DIR/report.html, or comparison.html for several runs",
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the report. Root only: a no-op elsewhere."""
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    from hvd_imgcls.workflows.report import write_comparison, write_report

    runs: list[Path] = arguments.runs
    several = len(runs) > 1
    out = arguments.out or (Path("comparison.html") if several else runs[0] / "report.html")
    if not out.parent.is_dir():
        raise ConfigError(
            "--out",
            got=str(out),
            expected="a file in an existing directory",
            fix=f"create the directory {out.parent}",
        )
    if several:
        write_comparison(runs, out)
    else:
        write_report(runs[0], out)
    sys.stdout.write(f"{out}\n")
